// Package natstls is how a client and a NATS server make sure of each other.
//
// In: names of files, as flags. Out: options for a connection, and advice when one is refused.
//
// Laws: the files are read anew for each connection, so a certificate that was renewed counts from the
// next session on. A server that was to be checked and cannot be is not talked to.
//
// Concurrency: none; all is called as one likes.
//
// Not here: users and passwords, which are in the URL, and the connection itself (ingest, publisher).
package natstls

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
)

// Files are PEM files, as flags that every program has. All may be empty. Any of them means TLS, whatever the URL says; a
// URL that begins with tls:// means it too, with the authorities that the machine trusts.
type Files struct {
	CA   string `name:"nats-ca" env:"ORDERBOX_NATS_CA" type:"path" help:"Authority that the NATS server's certificate must come from (PEM). Default: those that this machine trusts." placeholder:"FILE"`
	Cert string `name:"nats-cert" env:"ORDERBOX_NATS_CERT" type:"path" help:"Certificate to show to the NATS server (PEM)." placeholder:"FILE"`
	Key  string `name:"nats-key" env:"ORDERBOX_NATS_KEY" type:"path" help:"Its private key (PEM)." placeholder:"FILE"`
}

// Check reads the files once, so that a wrong name is said at the start and not at every attempt.
func (f Files) Check() error {
	if (f.Cert == "") != (f.Key == "") {
		return errors.New("a certificate and its key go together: --nats-cert and --nats-key")
	}
	var o nats.Options
	for _, option := range f.Options() {
		if err := option(&o); err != nil {
			return fmt.Errorf("TLS with the NATS server: %w", err)
		}
	}
	return nil
}

// Options are for nats.Connect.
func (f Files) Options() (options []nats.Option) {
	if f.CA != "" {
		options = append(options, nats.RootCAs(f.CA))
	}
	if f.Cert != "" {
		options = append(options, nats.ClientCert(f.Cert, f.Key))
	}
	return options
}

// Alerts of RFC 8446, 6: what a server says to a client's certificate.
const (
	alertBadCertificate      = tls.AlertError(42)
	alertCertificateRequired = tls.AlertError(116)
)

// Advice says what to do about an error of connecting; nothing for those that pass or say it themselves.
func Advice(err error) string {
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "--nats-ca FILE with the authority that signed the NATS server's certificate"
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return "--nats-url with a name that the NATS server's certificate is for"
	}
	switch alert, _ := errors.AsType[tls.AlertError](err); {
	case alert == alertBadCertificate, alert == alertCertificateRequired:
		return "--nats-cert and --nats-key, which the NATS server asks for"
	case errors.Is(err, nats.ErrAuthorization):
		return "ORDERBOX_NATS_URL=nats://USER:PASSWORD@HOST:4222, with a user that the NATS server knows"
	case errors.Is(err, nats.ErrSecureConnWanted):
		return "TLS on the NATS server, or no tls:// and no --nats-ca here"
	}
	return ""
}
