// Package contract holds answers against an OpenAPI document. Only _test files import it.
//
// In: the document, and requests with their answers. Out: what the document does not say.
//
// It is stricter than the document, which lets fields be added: what an answer has and the document does not
// name is an error, and so are a status, a media type, a parameter and a field of a request that was accepted.
//
// Concurrency: a Contract does not change and may be used by any number of tests at once.
//
// Not here: asking (the tests).
package contract

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
)

// Contract is a document. Make it with Parse.
type Contract struct{ doc *openapi3.T }

// Parse reads a document in YAML, and checks it and its examples.
func Parse(text []byte) (*Contract, error) {
	doc, err := load(text)
	if err == nil {
		text, err = json.Marshal(doc)
	}
	var tree map[string]any
	if err == nil {
		err = json.Unmarshal(text, &tree)
	}
	if err == nil {
		parts := make(map[string]bool)
		findParts(tree, parts)
		schemas, _ := tree["components"].(map[string]any)["schemas"].(map[string]any)
		for name := range parts {
			schemas[strings.TrimPrefix(name, "#/components/schemas/")].(map[string]any)["unevaluatedProperties"] = true
		}
		closeObjects(tree)
		text, err = json.Marshal(tree)
	}
	if err == nil {
		doc, err = load(text)
	}
	if err != nil {
		return nil, fmt.Errorf("the OpenAPI document: %w", err)
	}
	return &Contract{doc}, nil
}

func load(text []byte) (*openapi3.T, error) {
	doc, err := openapi3.NewLoader().LoadFromData(text)
	if err != nil {
		return nil, err
	}
	return doc, doc.Validate(context.Background(), openapi3.EnableExamplesValidation())
}

// findParts collects the schemas that others are made of: they alone do not say which fields there are.
func findParts(node any, parts map[string]bool) {
	switch n := node.(type) {
	case map[string]any:
		if all, ok := n["allOf"].([]any); ok {
			for _, part := range all {
				if ref, ok := part.(map[string]any)["$ref"].(string); ok {
					parts[ref] = true
				}
			}
		}
		for _, child := range n {
			findParts(child, parts)
		}
	case []any:
		for _, child := range n {
			findParts(child, parts)
		}
	}
}

// closeObjects lets every object have the fields alone that are named.
func closeObjects(node any) {
	switch n := node.(type) {
	case map[string]any:
		_, named := n["properties"].(map[string]any)
		_, composed := n["allOf"].([]any)
		_, decided := n["unevaluatedProperties"]
		if _, open := n["additionalProperties"]; (named || composed) && !open && !decided {
			n["unevaluatedProperties"] = false
		}
		for _, child := range n {
			closeObjects(child)
		}
	case []any:
		for _, child := range n {
			closeObjects(child)
		}
	}
}

// Operations returns what can be asked for, each as its method and its path.
func (c *Contract) Operations() (operations []string) {
	for path, item := range c.doc.Paths.Map() {
		for method := range item.Operations() {
			operations = append(operations, method+" "+path)
		}
	}
	slices.Sort(operations)
	return operations
}

// Answers returns the statuses of each operation, each as the operation and the status.
func (c *Contract) Answers() (answers []string) {
	for path, item := range c.doc.Paths.Map() {
		for method, operation := range item.Operations() {
			for status := range operation.Responses.Map() {
				answers = append(answers, method+" "+path+" "+status)
			}
		}
	}
	slices.Sort(answers)
	return answers
}

// Parameters returns the query parameters of an operation, each with its example.
func (c *Contract) Parameters(operation string) url.Values {
	method, path, _ := strings.Cut(operation, " ")
	examples := make(url.Values)
	for _, p := range c.doc.Paths.Value(path).GetOperation(method).Parameters {
		if p.Value.In == openapi3.ParameterInQuery {
			examples.Set(p.Value.Name, fmt.Sprint(p.Value.Example))
		}
	}
	return examples
}

// Body returns the example of an operation's body as JSON; nil when there is none.
func (c *Contract) Body(operation string) (example map[string]any) {
	method, path, _ := strings.Cut(operation, " ")
	if body := c.doc.Paths.Value(path).GetOperation(method).RequestBody; body != nil {
		if kind := body.Value.Content["application/json"]; kind != nil {
			example, _ = kind.Example.(map[string]any)
		}
	}
	return maps.Clone(example)
}

// Check returns which of Answers an answer is, or none for one that tells that there is no such address or method; and
// what of it the document does not say. The bodies are those of the request and of the answer.
func (c *Contract) Check(request *http.Request, sent []byte, answer *http.Response, body []byte) (name string, err error) {
	path, variables := c.find(request.URL.EscapedPath())
	if path == "" {
		return "", c.checkProblem(answer, body, http.StatusNotFound)
	}
	item := c.doc.Paths.Value(path)
	method := request.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	operation := item.Operations()[method]
	if operation == nil {
		var offered []string
		for m := range maps.Keys(item.Operations()) {
			if offered = append(offered, m); m == http.MethodGet {
				offered = append(offered, http.MethodHead)
			}
		}
		slices.Sort(offered)
		if allowed := strings.Split(answer.Header.Get("Allow"), ", "); !slices.Equal(offered, slices.Sorted(slices.Values(allowed))) {
			return "", fmt.Errorf("the header Allow has %q, the document %q", allowed, offered)
		}
		return "", c.checkProblem(answer, body, http.StatusMethodNotAllowed)
	}
	name = fmt.Sprintf("%s %s %d", method, path, answer.StatusCode)
	asked := &openapi3filter.RequestValidationInput{
		Request: request, PathParams: variables, Route: &routers.Route{Spec: c.doc, PathItem: item, Operation: operation, Path: path, Method: method},
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, SkipSettingDefaults: true, MultiError: true},
	}
	if answer.StatusCode < http.StatusBadRequest {
		err = c.checkRequest(asked, sent)
	}
	if err = errors.Join(err, c.checkAnswer(asked, operation, answer, body)); err != nil {
		text, _, _ := strings.Cut(err.Error(), "\n") // what follows is the schema
		return name, errors.New(text)
	}
	return name, nil
}

// find returns which path of the document is meant, and what stands in the places of its parameters.
func (c *Contract) find(asked string) (path string, variables map[string]string) {
	parts := strings.Split(asked, "/")
	for _, candidate := range slices.Sorted(maps.Keys(c.doc.Paths.Map())) {
		names, values := strings.Split(candidate, "/"), make(map[string]string)
		fits := len(names) == len(parts)
		for i := 0; fits && i < len(parts); i++ {
			if name, ok := strings.CutPrefix(names[i], "{"); ok && parts[i] != "" {
				values[strings.TrimSuffix(name, "}")], _ = url.PathUnescape(parts[i])
			} else {
				fits = names[i] == parts[i]
			}
		}
		if fits && (path == "" || len(values) < len(variables)) {
			path, variables = candidate, values
		}
	}
	return path, variables
}

// checkRequest checks one that was accepted.
func (c *Contract) checkRequest(asked *openapi3filter.RequestValidationInput, sent []byte) error {
	for name := range asked.Request.URL.Query() {
		if asked.Route.Operation.Parameters.GetByInAndName(openapi3.ParameterInQuery, name) == nil {
			return fmt.Errorf("the parameter %s was accepted, and is not documented", name)
		}
	}
	body := asked.Route.Operation.RequestBody
	if len(sent) > 0 && body == nil {
		return nil // it was not looked at
	}
	asked.Request = asked.Request.Clone(asked.Request.Context())
	if body != nil && body.Value.Content.Get(asked.Request.Header.Get("Content-Type")) == nil {
		asked.Request.Header.Set("Content-Type", "application/json") // nobody insists on it where there is no other
	}
	asked.Request.Body = io.NopCloser(bytes.NewReader(sent))
	if asked.Request.ContentLength = int64(len(sent)); len(sent) == 0 {
		asked.Request.Body = http.NoBody
	}
	return openapi3filter.ValidateRequest(asked.Request.Context(), asked)
}

func (c *Contract) checkAnswer(asked *openapi3filter.RequestValidationInput, operation *openapi3.Operation, answer *http.Response, body []byte) error {
	documented := operation.Responses.Status(answer.StatusCode)
	if documented == nil {
		return fmt.Errorf("the status %d is not documented: %s", answer.StatusCode, body)
	}
	if len(documented.Value.Content) == 0 && len(body) > 0 {
		return fmt.Errorf("the body of a %d is not documented: %s", answer.StatusCode, body)
	}
	if documented.Value.Content.Get(typeProblem) != nil {
		return c.checkProblem(answer, body, answer.StatusCode)
	}
	if asked.Request.Method == http.MethodHead {
		return nil
	}
	given := &openapi3filter.ResponseValidationInput{RequestValidationInput: asked, Status: answer.StatusCode, Header: answer.Header,
		Options: &openapi3filter.Options{IncludeResponseStatus: true, MultiError: true}}
	return openapi3filter.ValidateResponse(asked.Request.Context(), given.SetBodyBytes(body))
}

const typeProblem = "application/problem+json"

// checkProblem checks an answer that tells what is wrong.
func (c *Contract) checkProblem(answer *http.Response, body []byte, status int) error {
	if kind, _, _ := mime.ParseMediaType(answer.Header.Get("Content-Type")); answer.StatusCode != status || kind != typeProblem {
		return fmt.Errorf("%d as %s, not %d as %s: %s", answer.StatusCode, kind, status, typeProblem, body)
	}
	if answer.Request != nil && answer.Request.Method == http.MethodHead || len(body) == 0 {
		return nil
	}
	var problem map[string]any
	if err := json.Unmarshal(body, &problem); err != nil {
		return err
	}
	if problem["status"] != float64(status) {
		return fmt.Errorf("the status is %d, and the body says %v", status, problem["status"])
	}
	return c.doc.Components.Schemas["Problem"].Value.VisitJSON(problem, openapi3.EnableJSONSchema2020(), openapi3.MultiErrors())
}
