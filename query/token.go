package query

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Token is what an operator proves himself with. How long a secret should be is for the caller to say.
type Token struct {
	Name   string // of who has it: decisions are recorded under it
	Secret string
}

// keyring knows the operators' tokens. It keeps none of the secrets, and a cookie carries none: it holds
// when it ends, and a signature that only who knew a secret can have been given. So it needs no memory here,
// is good at every replica with the same tokens, and dies with its token.
type keyring []operatorKey

type operatorKey struct {
	name   string
	digest [sha256.Size]byte // of the secret: hashed, all have one length
	signer [sha256.Size]byte // signs cookies
}

func newKeyring(tokens []Token) (keyring, error) {
	var problems []error
	var keys keyring
	for i, t := range tokens {
		if t.Name == "" || t.Secret == "" {
			problems = append(problems, fmt.Errorf("token %d lacks a name or a secret", i+1))
		}
		k := operatorKey{name: t.Name, digest: sha256.Sum256([]byte(t.Secret))}
		copy(k.signer[:], sign([]byte(t.Secret), "orderbox operator cookie of "+t.Name))
		for _, other := range keys {
			if other.name == k.name || other.digest == k.digest {
				problems = append(problems, fmt.Errorf("tokens %s and %s have the same name or secret", other.name, k.name))
			}
		}
		keys = append(keys, k)
	}
	return keys, errors.Join(problems...)
}

// bearer returns whose secret it is; empty when nobody's.
func (k keyring) bearer(secret string) (name string) {
	digest := sha256.Sum256([]byte(secret))
	return k.find(func(key operatorKey) int { return subtle.ConstantTimeCompare(digest[:], key.digest[:]) })
}

// issue returns the cookie of who has a name, good until a time.
func (k keyring) issue(name string, until time.Time) string {
	expiry := strconv.FormatInt(until.Unix(), 10)
	for _, key := range k {
		if key.name == name {
			return expiry + "." + base64.RawURLEncoding.EncodeToString(sign(key.signer[:], expiry))
		}
	}
	return ""
}

// cookie returns whose cookie it is; empty when nobody's, or when its time is over.
func (k keyring) cookie(value string, now time.Time) (name string) {
	expiry, encoded, _ := strings.Cut(value, ".")
	signature, err := base64.RawURLEncoding.Strict().DecodeString(encoded)
	if err != nil {
		return ""
	}
	until, err := strconv.ParseInt(expiry, 10, 64)
	if err != nil || now.Unix() >= until {
		return ""
	}
	return k.find(func(key operatorKey) int {
		return subtle.ConstantTimeCompare(signature, sign(key.signer[:], expiry))
	})
}

// find takes the same time whichever key is the one, or none: all are compared.
func (k keyring) find(same func(operatorKey) int) (name string) {
	found := -1
	for i, key := range k {
		found = subtle.ConstantTimeSelect(same(key), i, found)
	}
	if found < 0 {
		return ""
	}
	return k[found].name
}

func sign(key []byte, text string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(text))
	return mac.Sum(nil)
}
