package main

import (
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	"orderbox/internal/testservers"
)

// trusting returns a client that trusts one authority, opens a connection for each request, and follows no redirect.
func trusting(tb testing.TB, authority *testservers.Authority, version uint16) *http.Client {
	tb.Helper()
	pem, err := os.ReadFile(authority.File)
	if err != nil {
		tb.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS10, MaxVersion: version}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func TestWithACertificateThereIsHTTPSAlone(t *testing.T) {
	t.Parallel()
	authority := testservers.NewAuthority(t)
	cert, key := authority.Issue()
	free, err := listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	free.Close()
	const token = "sixteen characters"
	p := mustProgram(t, []string{"ORDERBOX_OPERATOR_TOKEN=" + token}, "serve", "--data", t.TempDir(), "--stages", "query",
		"--database-url", testservers.Database(t).ServiceURL, "--listen", address, "--tls-cert", cert, "--tls-key", key)
	client := trusting(t, authority, tls.VersionTLS13)
	var alive *http.Response
	testservers.Eventually(t, "it answers over TLS", func() bool {
		alive, err = client.Get("https://" + address + "/healthz")
		return err == nil
	})
	alive.Body.Close()
	if got := alive.Header.Get("Strict-Transport-Security"); got != "max-age=31536000" {
		t.Errorf("Strict-Transport-Security is %q", got)
	}
	login, err := client.PostForm("https://"+address+"/login", url.Values{"token": {token}})
	if err != nil {
		t.Fatal(err)
	}
	login.Body.Close()
	if cookies := login.Cookies(); len(cookies) != 1 || !cookies[0].Secure {
		t.Errorf("login answers %d and sets %v", login.StatusCode, cookies)
	}

	plain, err := http.Get("http://" + address + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	plain.Body.Close()
	if plain.StatusCode != http.StatusBadRequest {
		t.Errorf("without TLS: %d", plain.StatusCode)
	}
	if _, err := trusting(t, authority, tls.VersionTLS11).Get("https://" + address + "/healthz"); err == nil {
		t.Error("it speaks TLS 1.1")
	}
	if _, err := trusting(t, testservers.NewAuthority(t), tls.VersionTLS13).Get("https://" + address + "/healthz"); err == nil {
		t.Error("this test checks no certificate")
	}
	commands := [][]string{{"ready", "--url", "https://" + address}, {"dead-letters", "list", "--url", "https://" + address, "--operator-token", token}}
	for _, args := range commands {
		args = append(args, "--data", t.TempDir())
		if code, _, errs := runOrderbox(t.Context(), args...); code != 1 || !strings.Contains(errs, "\ntry: SSL_CERT_FILE=FILE") {
			t.Errorf("%s, without the authority: exit code %d, %s", args[0], code, errs)
		}
		asked := mustProgram(t, []string{"SSL_CERT_FILE=" + authority.File}, args...)
		asked.cmd.Wait() // nothing is projected, so it has nothing good to say
		if said := asked.log.String(); !strings.Contains(said, "not ready") && !strings.Contains(said, "Nothing has been projected") {
			t.Errorf("%s, with the authority: %s", args[0], said)
		}
	}
	if !strings.Contains(p.log.String(), "https://"+address) {
		t.Error("the log names another address")
	}
}

func TestARenewedCertificateNeedsNoRestart(t *testing.T) {
	t.Parallel()
	authority := testservers.NewAuthority(t)
	f := tlsFlags{}
	f.TLSCert, f.TLSKey = authority.Issue()
	config, err := f.config(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	shown := func() string {
		t.Helper()
		c, err := config.GetCertificate(nil)
		if err != nil {
			t.Fatal(err)
		}
		return c.Leaf.SerialNumber.String()
	}
	first := shown()
	if shown() != first {
		t.Error("it changes by itself")
	}
	authority.Renew(f.TLSCert, f.TLSKey)
	renewed := shown()
	if renewed == first {
		t.Error("the renewed one is not shown")
	}
	if err := os.WriteFile(f.TLSCert, []byte("half of a certifi"), 0o600); err != nil {
		t.Fatal(err)
	}
	if shown() != renewed {
		t.Error("the last good one is gone")
	}
	if err := os.Remove(f.TLSKey); err != nil {
		t.Fatal(err)
	}
	if shown() != renewed {
		t.Error("the last good one is gone with its file")
	}
}

func TestACertificateThatCannotBeUsedIsSaidAtTheStart(t *testing.T) {
	t.Parallel()
	authority := testservers.NewAuthority(t)
	cert, key := authority.Issue()
	_, other := authority.Issue()
	for _, args := range [][]string{
		{"--tls-cert", cert}, {"--tls-key", key}, {"--tls-cert", cert, "--tls-key", other}, {"--tls-cert", "/nowhere", "--tls-key", key},
	} {
		code, _, errs := runOrderbox(t.Context(), append([]string{"serve", "--stages", "query", "--data", t.TempDir(), "--listen", "127.0.0.1:0",
			"--database-url", "postgres://orderbox:x@127.0.0.1:1/orderbox"}, args...)...)
		if code != 1 || !strings.Contains(errs, "\ntry: ") || !strings.Contains(errs, "--tls-key") {
			t.Errorf("%v: exit code %d, %s", args, code, errs)
		}
	}
}
