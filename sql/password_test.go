package sql_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"orderbox/internal/testservers"
	"orderbox/sql"
)

// The server logs all that it is sent, parameters included.
func TestNoPasswordIsSentInTheClear(t *testing.T) {
	t.Parallel()
	server := testservers.OwnPostgres(t, "log_statement=all", "log_error_verbosity=default")
	db := server.Database()
	for i, password := range []string{"plain", `it's \ $1 % "quoted"`, "Żółć 💥\t"} {
		password += " of the service"
		o := sql.MigrateOptions{AdminURL: db.AdminURL, Database: "orderbox", Password: password, ReaderPassword: password}
		if _, err := sql.Migrate(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		for _, address := range []string{db.ServiceURL, db.ReaderURL} {
			u, err := url.Parse(address)
			if err != nil {
				t.Fatal(err)
			}
			u.User = url.UserPassword(u.User.Username(), password)
			mustConnect(t, u.String())
			u.User = url.UserPassword(u.User.Username(), password+"!")
			if conn, err := pgx.Connect(t.Context(), u.String()); err == nil {
				conn.Close(t.Context())
				t.Errorf("%s logs in with a wrong password", u.User.Username())
			}
		}
		log := server.Log()
		if strings.Contains(log, "of the service") {
			t.Errorf("the server was sent password %q", password)
		}
		if n := strings.Count(log, "with login password"); n < 2*(i+1) {
			t.Errorf("%d passwords were set: does this test still see what is sent?", n)
		}
	}
	o := sql.MigrateOptions{AdminURL: db.AdminURL, Database: "orderbox", Password: "e\u0301 of the service"}
	if _, err := sql.Migrate(t.Context(), o); err == nil || !strings.Contains(err.Error(), "role orderbox: it has characters") || strings.Contains(err.Error(), "of the") {
		t.Errorf("a password that may be prepared in several ways: %v", err)
	}
}
