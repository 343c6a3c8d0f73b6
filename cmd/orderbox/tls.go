package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"orderbox/internal/cli"
)

type tlsFlags struct {
	TLSCert string `name:"tls-cert" env:"ORDERBOX_TLS_CERT" type:"path" help:"Certificate to answer over HTTPS with, and only so (PEM, with what is between it and its authority). It is read again when it changes." placeholder:"FILE"`
	TLSKey  string `name:"tls-key" env:"ORDERBOX_TLS_KEY" type:"path" help:"Its private key (PEM)." placeholder:"FILE"`
}

func (f tlsFlags) scheme() string {
	if f.TLSCert != "" {
		return "https"
	}
	return "http"
}

// config is nil for HTTP. The certificate is there and fits its key, or it is an error.
func (f tlsFlags) config(log *slog.Logger) (*tls.Config, error) {
	if f.TLSCert == "" && f.TLSKey == "" {
		return nil, nil
	}
	if f.TLSCert == "" || f.TLSKey == "" {
		return nil, cli.Try(errors.New("a certificate and its key go together"), "--tls-cert FILE --tls-key FILE")
	}
	k := &certificateKeeper{certFile: f.TLSCert, keyFile: f.TLSKey, log: log}
	if err := k.load(); err != nil {
		return nil, cli.Try(fmt.Errorf("read the certificate for HTTPS: %w", err), "check --tls-cert and --tls-key")
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: k.get}, nil
}

// certificateKeeper has the certificate that its files hold now, so that a renewed one needs no restart. While they cannot
// be read, or do not fit each other yet, the last good one stays.
type certificateKeeper struct {
	certFile, keyFile string
	log               *slog.Logger

	mu    sync.Mutex
	kept  *tls.Certificate
	tried [2]time.Time // when the files were changed that were tried last
}

// get is called for each connection.
func (k *certificateKeeper) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.changed() == k.tried {
		return k.kept, nil
	}
	if err := k.load(); err != nil {
		k.log.Warn("the renewed certificate for HTTPS cannot be read: the last one stays", "error", err)
	} else {
		k.log.Info("certificate for HTTPS read again", "file", k.certFile)
	}
	return k.kept, nil
}

func (k *certificateKeeper) load() error {
	k.tried = k.changed()
	pair, err := tls.LoadX509KeyPair(k.certFile, k.keyFile)
	if err != nil {
		return err
	}
	k.kept = &pair
	return nil
}

// changed says when each file was; a file that is not there never was.
func (k *certificateKeeper) changed() (at [2]time.Time) {
	for i, file := range []string{k.certFile, k.keyFile} {
		if info, err := os.Stat(file); err == nil {
			at[i] = info.ModTime()
		}
	}
	return at
}
