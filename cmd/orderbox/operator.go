package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"orderbox/internal/cli"
)

// operatorFlags say where the service answers and what opens its operator's paths.
type operatorFlags struct {
	dataFlags
	URL   string `env:"ORDERBOX_URL" default:"http://127.0.0.1:8080" help:"Where the service answers. Default: ${default}." placeholder:"URL"`
	Token string `name:"operator-token" env:"ORDERBOX_OPERATOR_TOKEN" help:"What the operator proves himself with; of NAME:SECRET,NAME:SECRET the first counts." placeholder:"TOKEN"`
}

// operatorAPI is the running service as an operator sees it. Commands ask it rather than the database, so
// that they say what the pages say and decisions are taken in one place.
type operatorAPI struct {
	base, secret string
}

func (f operatorFlags) api() (operatorAPI, error) {
	// The service's own setting will do: it may hold several operators, of whom this is the first.
	secret, _, _ := strings.Cut(f.Token, ",")
	if _, unnamed, named := strings.Cut(secret, ":"); named {
		secret = unnamed
	}
	if secret == "" {
		return operatorAPI{}, cli.Try(errors.New("no operator token is given"), "set ORDERBOX_OPERATOR_TOKEN, or --data to the directory of orderbox up")
	}
	return operatorAPI{base: strings.TrimSuffix(f.URL, "/"), secret: secret}, nil
}

const (
	// askTimeout is above the two minutes that the service gives itself for a decision about many.
	askTimeout = 150 * time.Second
	// maxAnswer is above a page of dead letters with everything that is wrong with each, and above a payload.
	maxAnswer = 64 << 20
)

// get asks and decodes the answer.
func (a operatorAPI) get(ctx context.Context, path string, query url.Values, answer any) error {
	body, err := a.ask(ctx, http.MethodGet, path, query, "", nil)
	if err != nil {
		return err
	}
	return a.decode(body, answer)
}

// post sends v as JSON and decodes the answer.
func (a operatorAPI) post(ctx context.Context, path string, v, answer any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if body, err = a.ask(ctx, http.MethodPost, path, nil, "application/json", body); err != nil {
		return err
	}
	return a.decode(body, answer)
}

func (a operatorAPI) decode(body []byte, answer any) error {
	if err := json.Unmarshal(body, answer); err != nil {
		return cli.Try(fmt.Errorf("%s answers, but not as this program's version of the service does: %w", a.base, err),
			"check --url, and that both programs are of one version")
	}
	return nil
}

// ask returns the body of the answer; what the service has to say against the question is the error.
func (a operatorAPI) ask(ctx context.Context, method, path string, query url.Values, contentType string, body []byte) ([]byte, error) {
	asking, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	address := a.base + path
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	request, err := http.NewRequestWithContext(asking, method, address, bytes.NewReader(body))
	if err != nil {
		return nil, cli.Try(fmt.Errorf("%q is no address of a service", a.base), "--url http://HOST:PORT")
	}
	request.Header.Set("Authorization", "Bearer "+a.secret)
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	response, err := http.DefaultClient.Do(request)
	if err == nil {
		defer response.Body.Close()
		body, err = io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	}
	switch {
	case ctx.Err() != nil:
		return nil, cli.Try(errors.New("broken off: what the service was asked to do it may do all the same"), "orderbox dead-letters list --state any")
	case distrusts(err) != nil:
		return nil, distrusts(err)
	case isUnreached(err):
		return nil, cli.Try(fmt.Errorf("no service answers at %s", a.base), "orderbox up, or --url and ORDERBOX_URL name one that runs")
	case err != nil:
		return nil, cli.Try(fmt.Errorf("%s did not answer to the end: what it was asked to do it may have done", a.base),
			"orderbox ready --wait 30s, then orderbox dead-letters list --state any")
	case response.StatusCode >= http.StatusBadRequest:
		return nil, a.refusal(response.StatusCode, body)
	}
	return body, nil
}

// distrusts is what there is to say when a service's certificate was not accepted; nil for any other error.
func distrusts(err error) error {
	refused, ok := errors.AsType[*tls.CertificateVerificationError](err)
	if !ok {
		return nil
	}
	return cli.Try(fmt.Errorf("the service's certificate is not trusted: %w", refused.Err),
		"SSL_CERT_FILE=FILE with the authority that signed it, or the name that it is for in --url")
}

// isUnreached says that a question never arrived.
func isUnreached(err error) bool {
	network, ok := errors.AsType[*net.OpError](err)
	return ok && network.Op == "dial"
}

// refusal makes an error of the problem that the service answered with (RFC 9457): its fix is the advice.
func (a operatorAPI) refusal(status int, body []byte) error {
	var problem struct{ Title, Detail, Fix string }
	if err := json.Unmarshal(body, &problem); err != nil || problem.Title == "" {
		return cli.Try(fmt.Errorf("%s answered %d %s", a.base, status, http.StatusText(status)), "check --url, or look at "+a.base+"/readyz")
	}
	if problem.Detail != "" {
		problem.Title += ": " + strings.TrimSuffix(problem.Detail, ".")
	}
	if status == http.StatusUnauthorized {
		problem.Fix = strings.TrimSpace(problem.Fix + " Here that is --operator-token or ORDERBOX_OPERATOR_TOKEN.")
	}
	return cli.Try(errors.New(problem.Title), cmp.Or(problem.Fix, "look at "+a.base+"/readyz"))
}
