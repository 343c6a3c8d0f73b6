package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"regexp"
	"strings"

	"orderbox/internal/cli"
	"orderbox/query"
)

const (
	// soleOperator is whose a token is that comes without a name.
	soleOperator = "operator"
	// minSecret is what keeps a secret from being guessed: 16 hexadecimal digits would do.
	minSecret = 16
)

var tokenName = regexp.MustCompile(`^[A-Za-z0-9._@-]{1,64}$`)

// tokens returns the operators' tokens of the flag and of the file, the flag's first. No error shows a part
// of a secret.
func (f webFlags) tokens(log *slog.Logger) ([]query.Token, error) {
	list, err := flagTokens(f.OperatorToken)
	if err != nil {
		return nil, err
	}
	if f.OperatorTokensFile != "" {
		more, err := fileTokens(f.OperatorTokensFile, log)
		if err != nil {
			return nil, err
		}
		list = append(list, more...)
	}
	names, secrets := map[string]bool{}, map[string]bool{}
	for _, t := range list {
		if names[t.Name] {
			return nil, cli.Try(fmt.Errorf("two operator tokens have the name %s", t.Name), "give each operator a name of his own")
		}
		if secrets[t.Secret] {
			return nil, cli.Try(fmt.Errorf("the operator token of %s is another's as well", t.Name), "make one for each: openssl rand -hex 16")
		}
		names[t.Name], secrets[t.Secret] = true, true
	}
	return list, nil
}

// flagTokens reads SECRET, or NAME:SECRET,NAME:SECRET.
func flagTokens(value string) (list []query.Token, err error) {
	if value == "" {
		return nil, nil
	}
	if !strings.ContainsAny(value, ":,") {
		value = soleOperator + ":" + value
	}
	for i, pair := range strings.Split(value, ",") {
		t, err := parseToken(pair)
		if err != nil {
			return nil, cli.Try(fmt.Errorf("token %d of --operator-token: %w", i+1, err), "a secret alone, or NAME:SECRET,NAME:SECRET; openssl rand -hex 16 makes a secret")
		}
		list = append(list, t)
	}
	return list, nil
}

// fileTokens reads lines of NAME:SECRET. A file that others may write is refused, for they could make
// themselves operators; one that they may read is only warned of, for that is how a container gets its
// secrets.
func fileTokens(path string, log *slog.Logger) (list []query.Token, err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, cli.Try(fmt.Errorf("read the operator tokens: %w", err), "check --operator-tokens-file")
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("read the operator tokens: %w", err)
	}
	const groupOrOthersWrite, othersRead fs.FileMode = 0o022, 0o004
	if info.Mode()&groupOrOthersWrite != 0 {
		return nil, cli.Try(fmt.Errorf("others than its owner may write %s", path), "chmod 600 "+path)
	}
	if info.Mode()&othersRead != 0 {
		log.Warn("everybody on this machine may read the operators' tokens", "file", path)
	}
	lines := bufio.NewScanner(file)
	for number := 1; lines.Scan(); number++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		t, err := parseToken(line)
		if err != nil {
			return nil, cli.Try(fmt.Errorf("line %d of %s: %w", number, path, err), "lines of NAME:SECRET; openssl rand -hex 16 makes a secret")
		}
		list = append(list, t)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read the operator tokens: %w", err)
	}
	if len(list) == 0 {
		return nil, cli.Try(fmt.Errorf("%s has no operator token", path), "lines of NAME:SECRET; openssl rand -hex 16 makes a secret")
	}
	return list, nil
}

func parseToken(pair string) (query.Token, error) {
	name, secret, ok := strings.Cut(pair, ":")
	switch {
	case !ok:
		return query.Token{}, errors.New("it is not NAME:SECRET")
	case !tokenName.MatchString(name):
		return query.Token{}, errors.New("the name is not 1 to 64 letters, digits, dots, dashes, underscores or @") // it may be half a secret
	case len(secret) < minSecret:
		return query.Token{}, fmt.Errorf("the secret is shorter than %d characters", minSecret)
	case strings.TrimSpace(secret) != secret:
		return query.Token{}, errors.New("the secret has white space at an end")
	}
	return query.Token{Name: name, Secret: secret}, nil
}
