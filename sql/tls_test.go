package sql_test

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"orderbox/internal/testservers"
	"orderbox/sql"
)

// with returns a URL with parameters added or changed, name and value in turn.
func with(t *testing.T, address string, params ...string) *url.URL {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	query := u.Query()
	for i := 0; i < len(params); i += 2 {
		query.Set(params[i], params[i+1])
	}
	u.RawQuery = query.Encode()
	return u
}

// encrypted opens a pool and says whether its connection is over TLS.
func encrypted(ctx context.Context, address string) (over bool, err error) {
	pool, err := sql.Open(ctx, address, "test", 1)
	if err != nil {
		return false, err
	}
	defer pool.Close()
	err = pool.QueryRow(ctx, `select ssl from pg_stat_ssl where pid = pg_backend_pid()`).Scan(&over)
	return over, err
}

func TestTheDatabaseIsReachedOverTLSAndNoOtherIs(t *testing.T) {
	t.Parallel()
	authority := testservers.NewAuthority(t)
	server := testservers.OwnPostgres(t)
	server.Secure(authority)
	address := server.Database().ServiceURL

	sure := with(t, address, "sslmode", "verify-full", "sslrootcert", authority.File)
	if over, err := encrypted(t.Context(), sure.String()); !over || err != nil {
		t.Errorf("over TLS: %t, %v", over, err)
	}
	named := *sure
	named.Host = "localhost:" + sure.Port()
	for what, u := range map[string]*url.URL{
		"signed by another":         with(t, address, "sslmode", "verify-full", "sslrootcert", testservers.NewAuthority(t).File),
		"signed by nobody we trust": with(t, address, "sslmode", "verify-full"),
		"another name":              &named,
	} {
		_, err := encrypted(t.Context(), u.String())
		if password, _ := u.User.Password(); err == nil || !strings.Contains(err.Error(), "certificate") || strings.Contains(err.Error(), ":"+password) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := encrypted(t.Context(), with(t, address, "sslmode", "verify-full", "sslrootcert", "/nowhere/ca.pem").String()); err == nil ||
		!strings.Contains(err.Error(), "/nowhere/ca.pem") {
		t.Errorf("an authority that is not there: %v", err)
	}

	// The password need not be in the URL.
	password, _ := sure.User.Password()
	file := filepath.Join(t.TempDir(), "pgpass")
	if err := os.WriteFile(file, []byte("*:*:*:orderbox:"+password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	bare := with(t, sure.String(), "passfile", file)
	bare.User = url.User("orderbox")
	if over, err := encrypted(t.Context(), bare.String()); !over || err != nil {
		t.Errorf("with the password in a file: %t, %v", over, err)
	}
}

func TestAURLThatCannotBeReadIsNotQuoted(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"postgres://orderbox:hush hush@h/d", "postgres://orderbox:hush@h:port/d", "host=h password='hush", "postgres://orderbox:hush@h/d?sslmode=hushed",
		"postgres://orderbox:hush@h/d?sslrootcert=/nowhere&sslmode=verify-ca"} {
		if _, err := sql.Open(t.Context(), address, "test", 1); err == nil || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: %v", address, err)
		}
	}
}
