package local

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// mustPack makes an archive as the library expects it of this machine's PostgreSQL: a zip file with a
// tar file compressed by xz.
func mustPack(t *testing.T) []byte {
	t.Helper()
	if _, err := exec.LookPath("xz"); err != nil {
		t.Skip("no xz on this machine to pack an archive with")
	}
	f := defaultFinder("")
	f.fetch = notOffered
	bin, err := f.find(t.Context(), 0)
	if err != nil {
		t.Skip("no PostgreSQL on this machine to pack: ", err)
	}
	tarFile := filepath.Join(t.TempDir(), "postgres.tar")
	libraries, err := filepath.Glob(filepath.Join(filepath.Dir(bin.dir), "lib", "*.so"))
	if err != nil {
		t.Fatal(err)
	}
	arguments := []string{"-C", filepath.Dir(bin.dir), "-cf", tarFile, "bin/postgres", "bin/initdb", "bin/pg_ctl"}
	for _, library := range libraries {
		arguments = append(arguments, filepath.Join("lib", filepath.Base(library)))
	}
	pack := exec.Command("tar", arguments...)
	if output, err := pack.CombinedOutput(); err != nil {
		t.Fatalf("tar: %v: %s", err, output)
	}
	if output, err := exec.Command("xz", "-0", tarFile).CombinedOutput(); err != nil {
		t.Fatalf("xz: %v: %s", err, output)
	}
	packed, err := os.ReadFile(tarFile + ".xz")
	if err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	zipped := zip.NewWriter(&archive)
	entry, err := zipped.Create("postgres.txz")
	if err == nil {
		_, err = entry.Write(packed)
	}
	if err == nil {
		err = zipped.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return archive.Bytes()
}

func TestDownloadedPostgresIsLaidDownOnce(t *testing.T) {
	t.Parallel()
	archive := mustPack(t)
	sum := sha256.Sum256(archive)
	requests := make(chan string, 100)
	repository := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests <- r.URL.Path
		if strings.HasSuffix(r.URL.Path, ".sha256") {
			w.Write([]byte(hex.EncodeToString(sum[:])))
			return
		}
		w.Write(archive)
	}))
	defer repository.Close()

	cache := filepath.Join(openDir(t), "cache")
	for range 2 {
		dir, err := fetchInto(t.Context(), cache, 15, repository.URL)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := inspect(t.Context(), dir); !ok {
			t.Errorf("what is in %s does not run", dir)
		}
	}
	if len(requests) != 2 { // the archive and its checksum
		t.Errorf("%d requests for two uses", len(requests))
	}
	if left, _ := filepath.Glob(filepath.Join(cache, "unpack-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	mustQuery(t, mustStart(t, PostgresOptions{Dir: openDir(t), BinDir: filepath.Join(cache, "15.13.0", "bin")}), "select 'up'")
}

func TestDownloadThatFailsLeavesNothing(t *testing.T) {
	t.Parallel()
	repository := httptest.NewServer(http.NotFoundHandler())
	defer repository.Close()
	cache := t.TempDir()
	if dir, err := fetchInto(t.Context(), cache, 0, repository.URL); err == nil {
		t.Errorf("downloaded %s from an empty repository", dir)
	}
	if left, _ := os.ReadDir(cache); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if _, err := fetchInto(t.Context(), cache, 14, repository.URL); err == nil || !strings.Contains(err.Error(), "not offered") {
		t.Errorf("version 14: %v", err)
	}
}
