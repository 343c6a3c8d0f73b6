package testservers

import (
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
)

// Standby starts a hot standby of the server, which streams from it. It ends with the test, as the server does, which is
// stopped and started again for it.
func (p *OwnedPostgres) Standby() *OwnedPostgres {
	p.tb.Helper()
	primary, err := url.Parse(p.server.URL("postgres"))
	if err != nil {
		p.tb.Fatal(err)
	}
	password, _ := primary.User.Password()
	s := &OwnedPostgres{tb: p.tb, options: p.options}
	s.options.Dir, s.options.Port = filepath.Join(Dir(p.tb), "postgres"), 0
	s.options.Settings = map[string]string{"primary_conninfo": fmt.Sprintf("host=127.0.0.1 port=%s user=%s password=%s application_name=standby",
		primary.Port(), primary.User.Username(), password)}
	p.Stop() // a copy of what is at rest needs no program of another package
	defer p.Start()
	if out, err := exec.Command("cp", "-a", p.options.Dir, s.options.Dir).CombinedOutput(); err != nil {
		p.tb.Fatalf("copy the data: %v: %s", err, out)
	}
	signal := filepath.Join(s.options.Dir, "data", "standby.signal")
	if err := os.WriteFile(signal, nil, 0o644); err != nil {
		p.tb.Fatal(err)
	}
	s.Start()
	s.options.Port = s.server.Port()
	p.tb.Cleanup(s.Stop)
	return s
}

// DB is the database orderbox, which Database has migrated on this server or on the one that it is a standby of.
func (p *OwnedPostgres) DB() DB { return newDB(p.server.URL("orderbox")) }
