package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"
)

// startMeasuring answers /metrics and /healthz in a process that answers nothing else.
func (s *stages) startMeasuring(ctx context.Context, g *errgroup.Group) error {
	if s.query || s.listener == nil {
		return nil
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintln(w, `{"ok":true}`)
	})
	server := &http.Server{Handler: mux, TLSConfig: s.tls, ReadTimeout: 5 * time.Second, WriteTimeout: 15 * time.Second, MaxHeaderBytes: 32 << 10}
	g.Go(func() error { return serveHTTP(ctx, server, s.listener) })
	return nil
}
