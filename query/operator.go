package query

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"
)

// operator lets through who knows the operator's token. What is behind shows messages as they came, so no
// cache may keep it.
func (s *Server) operator(handle handler) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("Cache-Control", "no-store")
		if s.o.OperatorToken == "" {
			return newProblem(http.StatusForbidden, "operator-off", "The operator's paths are off",
				"This service runs without an operator token.",
				"Set ORDERBOX_OPERATOR_TOKEN (or --operator-token) for the service and start it again.")
		}
		scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		if !strings.EqualFold(scheme, "Bearer") || !sameSecret(token, s.o.OperatorToken) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="orderbox operator"`)
			return newProblem(http.StatusUnauthorized, "unauthorized", "This is for the operator",
				"The operator token is missing or not the right one.",
				"Send it as: Authorization: Bearer <token>.")
		}
		return handle(w, r)
	}
}

// sameSecret takes the same time for any two texts: hashed they have one length.
func sameSecret(a, b string) bool {
	hashA, hashB := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(hashA[:], hashB[:]) == 1
}
