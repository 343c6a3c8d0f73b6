package sql

import (
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"golang.org/x/text/secure/precis"
)

// setPassword sends what the server stores of a password, and never the password: the statement stands in the log of
// a server that logs DDL.
func setPassword(ctx context.Context, conn *pgx.Conn, role, password string) error {
	if password == "" {
		return nil
	}
	stored, err := verifier(password)
	if err == nil {
		_, err = conn.Exec(ctx, `alter role `+pgx.Identifier{role}.Sanitize()+` with login password '`+stored+`'`)
	}
	if err != nil {
		return fmt.Errorf("set the password of role %s: %w", role, err)
	}
	return nil
}

const (
	scramIterations = 4096 // PostgreSQL's default
	scramSaltBytes  = 16
)

// verifier is what PostgreSQL stores for SCRAM-SHA-256 (RFC 5802, in the spelling of RFC 5803). It holds nothing that a
// statement would have to quote.
func verifier(password string) (string, error) {
	// Whoever logs in prepares the password first, and not all do so alike. What cannot be prepared is taken as it is.
	if prepared, err := precis.OpaqueString.String(password); err == nil && prepared != password {
		return "", errors.New("it has characters that can be spelt in several ways; take one of ASCII, such as openssl rand -hex 16 makes")
	}
	salt := make([]byte, scramSaltBytes)
	rand.Read(salt) // never fails
	salted, err := pbkdf2.Key(sha256.New, password, salt, scramIterations, sha256.Size)
	if err != nil {
		return "", err
	}
	storedKey := sha256.Sum256(keyed(salted, "Client Key"))
	encode := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("SCRAM-SHA-256$%d:%s$%s:%s", scramIterations, encode(salt), encode(storedKey[:]),
		encode(keyed(salted, "Server Key"))), nil
}

func keyed(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}
