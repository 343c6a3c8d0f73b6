package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	embeddedpostgres "github.com/fergusstrange/embedded-postgres"
)

// fetch downloads PostgreSQL (0: the version that suits best) unless an earlier run has, and returns
// its programs' directory.
func fetch(ctx context.Context, major int) (string, error) {
	cache := filepath.Join(systemDir, "postgresql")
	if os.Geteuid() != 0 { // root's own cache is out of reach for the user that PostgreSQL runs as
		dir, err := os.UserCacheDir()
		if err != nil {
			return "", err
		}
		cache = filepath.Join(dir, "orderbox", "postgresql")
	}
	return fetchInto(ctx, cache, major, "")
}

// fetchInto is fetch with the cache's directory, and with the repository to download from unless empty.
func fetchInto(ctx context.Context, cache string, major int, repository string) (string, error) {
	versions := map[int]embeddedpostgres.PostgresVersion{
		0: embeddedpostgres.V17, 15: embeddedpostgres.V15, 16: embeddedpostgres.V16,
		17: embeddedpostgres.V17, 18: embeddedpostgres.V18,
	}
	version, ok := versions[major]
	if !ok {
		return "", fmt.Errorf("version %d is not offered for download", major)
	}
	target := filepath.Join(cache, string(version))
	bin := filepath.Join(target, "bin")
	if _, err := os.Stat(bin); err == nil {
		return bin, nil
	}
	if err := os.MkdirAll(cache, 0o711); err != nil {
		return "", err
	}
	// Unpacked under another name first: target is there either whole or not at all.
	work, err := os.MkdirTemp(cache, "unpack-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	if err := unpack(ctx, work, version, repository); err != nil {
		return "", err
	}
	unpacked := filepath.Join(work, "unpacked")
	if err := os.Chmod(unpacked, 0o755); err != nil {
		return "", err
	}
	if err := os.Rename(unpacked, target); err != nil {
		if _, statErr := os.Stat(bin); statErr != nil { // else another process was faster
			return "", err
		}
	}
	return bin, nil
}

// unpack downloads a version and lays it down in work/unpacked.
func unpack(ctx context.Context, work string, version embeddedpostgres.PostgresVersion, repository string) error {
	// A data directory below a file cannot be made.
	obstacle := filepath.Join(work, "obstacle")
	if err := os.WriteFile(obstacle, nil, 0o600); err != nil {
		return err
	}
	config := embeddedpostgres.DefaultConfig().
		Version(version).
		Port(0).
		CachePath(filepath.Join(work, "archive")).
		RuntimePath(filepath.Join(work, "runtime")).
		BinariesPath(filepath.Join(work, "unpacked")).
		DataPath(filepath.Join(obstacle, "data")).
		Logger(io.Discard)
	if repository != "" {
		config = config.BinaryRepositoryURL(repository)
	}

	// The library can only start a server, and as root not even that. We want its first step alone,
	// the programs on disk, so the second is made to fail. It knows no context: when ours ends the
	// download goes on until it is done or this process ends.
	started := make(chan error, 1)
	go func() { started <- embeddedpostgres.NewDatabase(config).Start() }()
	select {
	case err := <-started:
		for _, program := range []string{"postgres", "initdb"} {
			if _, statErr := os.Stat(filepath.Join(work, "unpacked", "bin", program)); statErr != nil {
				return errors.Join(err, statErr)
			}
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("download PostgreSQL: %w", context.Cause(ctx))
	}
}
