package local

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// minMajor is the oldest PostgreSQL that the service's SQL is written for.
const minMajor = 15

// binaries is a directory with the programs postgres and initdb of one version.
type binaries struct {
	dir   string
	major int
}

// finder says where to look for PostgreSQL.
type finder struct {
	binDir string   // the only place, if given
	path   string   // directories, as in $PATH: these come first
	globs  []string // of these the newest version is taken
	// fetch gets a version from elsewhere and returns its programs' directory; 0 leaves the version open.
	fetch func(ctx context.Context, major int) (string, error)
}

func defaultFinder(binDir string) finder {
	return finder{
		binDir: binDir,
		path:   os.Getenv("PATH"),
		globs: []string{
			"/usr/lib/postgresql/*/bin",          // Debian, Ubuntu
			"/usr/pgsql-*/bin",                   // Red Hat and its kin
			"/usr/lib/postgresql*/bin",           // openSUSE
			"/usr/libexec/postgresql*",           // Alpine
			"/usr/local/pgsql/bin",               // built from source
			"/opt/homebrew/opt/postgresql@*/bin", // Homebrew on Apple silicon
			"/usr/local/opt/postgresql@*/bin",    // Homebrew on Intel
			"/home/linuxbrew/.linuxbrew/opt/postgresql@*/bin",
			"/opt/local/lib/postgresql*/bin", // MacPorts
			"/Applications/Postgres.app/Contents/Versions/*/bin",
			"/Library/PostgreSQL/*/bin",
		},
		fetch: fetch,
	}
}

// find returns programs of version major, or, for 0, of any from minMajor on.
func (f finder) find(ctx context.Context, major int) (binaries, error) {
	fits := func(b binaries) bool {
		if major != 0 {
			return b.major == major
		}
		return b.major >= minMajor
	}
	if f.binDir != "" {
		bin, ok := inspect(ctx, f.binDir)
		switch {
		case !ok:
			return binaries{}, fmt.Errorf("no PostgreSQL in %s: postgres and initdb must be there; %s", f.binDir, advice)
		case !fits(bin):
			return binaries{}, fmt.Errorf("the PostgreSQL in %s is version %d, but %s", f.binDir, bin.major, need(major))
		}
		return bin, nil
	}

	var others []string
	for _, bin := range f.installed(ctx) {
		if fits(bin) {
			return bin, nil
		}
		others = append(others, fmt.Sprintf("version %d in %s", bin.major, bin.dir))
	}
	if ctx.Err() != nil { // then nothing was asked for its version, and nothing is missing
		return binaries{}, fmt.Errorf("look for PostgreSQL: %w", context.Cause(ctx))
	}
	dir, err := f.fetch(ctx, major)
	if err == nil {
		if bin, ok := inspect(ctx, dir); ok && fits(bin) {
			return bin, nil
		}
		err = fmt.Errorf("what was downloaded to %s does not run here", dir)
	}
	found := "none was found"
	if len(others) > 0 {
		found = "there is only " + strings.Join(others, ", ")
	}
	return binaries{}, fmt.Errorf("%s, %s, and it could not be downloaded (%w); %s", need(major), found, err, advice)
}

const advice = "install it (Debian, Ubuntu: `apt install postgresql`; macOS: `brew install postgresql@17`), or run everything in containers: `docker compose up`"

func need(major int) string {
	if major == 0 {
		return fmt.Sprintf("PostgreSQL %d or later is needed", minMajor)
	}
	return fmt.Sprintf("PostgreSQL %d is needed, because the data is of that version", major)
}

// installed lists what this machine has, the most wanted first.
func (f finder) installed(ctx context.Context) []binaries {
	var found []binaries
	for _, dir := range filepath.SplitList(f.path) {
		if real, err := filepath.EvalSymlinks(filepath.Join(dir, "postgres")); err == nil {
			if bin, ok := inspect(ctx, filepath.Dir(real)); ok {
				found = append(found, bin)
			}
		}
	}
	var elsewhere []binaries
	for _, glob := range f.globs {
		dirs, _ := filepath.Glob(glob) // fails only for a malformed pattern
		for _, dir := range dirs {
			if bin, ok := inspect(ctx, dir); ok {
				elsewhere = append(elsewhere, bin)
			}
		}
	}
	slices.SortStableFunc(elsewhere, func(a, b binaries) int { return cmp.Compare(b.major, a.major) })
	return append(found, elsewhere...)
}

// inspect asks the programs in dir for their version.
func inspect(ctx context.Context, dir string) (binaries, bool) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return binaries{}, false
	}
	if _, err := os.Stat(filepath.Join(dir, "initdb")); err != nil {
		return binaries{}, false
	}
	output, err := exec.CommandContext(ctx, filepath.Join(dir, "postgres"), "--version").Output()
	if err != nil {
		return binaries{}, false
	}
	// "postgres (PostgreSQL) 15.18 (Debian …)", "postgres (PostgreSQL) 18beta1"
	match := regexp.MustCompile(`\(PostgreSQL\) (\d+)`).FindSubmatch(output)
	if match == nil {
		return binaries{}, false
	}
	major, err := strconv.Atoi(string(match[1]))
	return binaries{dir: dir, major: major}, err == nil
}
