package query

import (
	"crypto/sha256"
	_ "embed"
	"net/http"
)

// openAPI says what may be asked for and what the answers are, but for the pages.
//
//go:embed openapi.yaml
var openAPI []byte

func (s *Server) contract(w http.ResponseWriter, r *http.Request) error {
	digest := sha256.Sum256(openAPI)
	if notModified(w, r, entityTag(digest[:digestBytes])) {
		return nil
	}
	return send(w, http.StatusOK, "application/yaml", openAPI)
}
