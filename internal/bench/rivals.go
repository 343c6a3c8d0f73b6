package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"orderbox/internal/bench/world"
	"orderbox/internal/cli"
)

// bare serves the dump by net/http and nothing else, in this process, which has nothing else to do meanwhile: the id
// is what follows the prefix in the path, the body is a slice of the slab, the headers are the service's. Guarded, it has
// the service's deadlines too, without which a slow client stays as long as it likes.
func bare(ctx context.Context, d *dump, constant http.Header, guarded bool) (base string, stop func() error, err error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tag, body, ok := d.order(strings.TrimPrefix(r.URL.Path, world.OrderPath))
		if !ok {
			http.NotFound(w, r)
			return
		}
		header := w.Header()
		maps.Copy(header, constant)
		header["Etag"] = []string{string(tag)}
		header["Content-Length"] = []string{strconv.Itoa(len(body))}
		_, _ = w.Write(body)
	})}
	if guarded {
		server.ReadTimeout, server.WriteTimeout, server.IdleTimeout = 15*time.Second, 30*time.Second, 2*time.Minute
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	return "http://" + l.Addr().String(), func() error {
		err := server.Close()
		if served := <-ended; !errors.Is(served, http.ErrServerClosed) {
			err = errors.Join(err, served)
		}
		return err
	}, nil
}

// constantHeaders are those of the service's answer that are the same for every order.
func constantHeaders(ctx context.Context, s *world.Service, uid string) (http.Header, error) {
	header, _, err := fetch(ctx, s.URL+world.OrderPath+uid)
	for _, own := range []string{"Date", "Etag", "Content-Length"} {
		header.Del(own)
	}
	return header, err
}

var client = http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: askers}}

func fetch(ctx context.Context, url string) (http.Header, []byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, nil, err
	}
	answer, err := client.Do(r)
	if err != nil {
		return nil, nil, err
	}
	defer answer.Body.Close()
	var body bytes.Buffer
	if _, err = body.ReadFrom(answer.Body); err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", url, answer.Status)
	}
	return answer.Header, body.Bytes(), err
}

// same makes sure for a thousand orders that others answer with the service's bytes: all headers of the bare server,
// and the body of nginx.
func same(ctx context.Context, d *dump, service, bare, nginx string) error {
	for range 1000 {
		path := world.OrderPath + d.uids[rand.IntN(len(d.uids))]
		header, body, err := fetch(ctx, service+path)
		if err != nil {
			return err
		}
		bareHeader, bareBody, err := fetch(ctx, bare+path)
		if err != nil {
			return err
		}
		_, nginxBody, err := fetch(ctx, nginx+path)
		if err != nil {
			return err
		}
		header.Del("Date")
		bareHeader.Del("Date")
		if !maps.EqualFunc(header, bareHeader, slices.Equal) || !bytes.Equal(body, bareBody) || !bytes.Equal(body, nginxBody) {
			return fmt.Errorf("the answers to %s differ: %v and %v", path, header, bareHeader)
		}
	}
	return nil
}

// One worker, as the two cores are shared with the load, and what its documentation advises for many small files. It
// keeps all files open where the system lets it; a cache of a part of them costs more than it saves when the ids are random.
const nginxConfig = `
daemon off;
pid %[1]s/nginx.pid;
error_log %[1]s/nginx.log;
worker_processes 1;
worker_rlimit_nofile %[4]d;
%[3]s
events { worker_connections 1024; }
http {
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000000;
    open_file_cache %[5]s;
    open_file_cache_valid 1h;
    types { }
    default_type application/json;
    server {
        listen %[2]s backlog=1024;
        root %[1]s/www;
    }
}
`

// nginx serves the dump as files.
func (b *bench) nginx(ctx context.Context, d *dump) (base string, stop func() error, err error) {
	dir := filepath.Join(b.dir, "nginx")
	www := filepath.Join(dir, "www", world.OrderPath)
	if err := os.MkdirAll(www, 0o755); err != nil {
		return "", nil, err
	}
	for _, uid := range d.uids {
		_, body, _ := d.order(uid)
		if err := os.WriteFile(filepath.Join(www, uid), body, 0o644); err != nil {
			return "", nil, err
		}
	}
	user := ""
	if os.Geteuid() == 0 {
		user = "user root;"
	}
	address, err := world.FreeAddress(ctx)
	if err != nil {
		return "", nil, err
	}
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return "", nil, fmt.Errorf("ask how many files may be open: %w", err)
	}
	cache := "off"
	if needed := len(d.uids) + 1000; uint64(needed) <= files.Max {
		cache = fmt.Sprintf("max=%d inactive=1h", needed)
	}
	b.nginxCache = cmp.Or(b.nginxCache, cache) // the first has all orders
	config := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(config, fmt.Appendf(nil, nginxConfig, dir, address, user, files.Max, cache), 0o600); err != nil {
		return "", nil, err
	}
	cmd := exec.Command("nginx", "-c", config, "-p", dir, "-e", filepath.Join(dir, "nginx.log"))
	cmd.Stderr = b.progress
	if err := cmd.Start(); err != nil {
		return "", nil, cli.Try(fmt.Errorf("run nginx: %w", err), "apt-get install nginx-light")
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	stop = func() error {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		return errors.Join(<-ended, os.RemoveAll(dir))
	}
	base = "http://" + address
	for range 100 {
		if _, _, err = fetch(ctx, base+world.OrderPath+d.uids[0]); err == nil {
			return base, stop, nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return "", nil, errors.Join(fmt.Errorf("nginx does not answer: %w", err), stop())
}
