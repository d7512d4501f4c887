package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// binaries are the two programs of one side: as it is shipped, and with the mistakes that construction forbids.
type binaries struct {
	commit           string // or the directory, with a plus where files differ from its commit
	shipped, planted string
}

// build makes the binaries of a commit, or of a directory, in a folder of their own.
func build(ctx context.Context, repo, what, folder string) (b binaries, err error) {
	tree := what
	if info, serr := os.Stat(what); serr == nil && info.IsDir() {
		b.commit, err = output(ctx, what, "git", "describe", "--always", "--exclude=*", "--dirty=+")
	} else {
		b.commit, err = output(ctx, repo, "git", "rev-parse", "--short", what+"^{commit}")
		tree = filepath.Join(folder, "tree")
		if err == nil {
			err = extract(ctx, repo, what, tree)
		}
	}
	if err != nil {
		return b, err
	}
	b.shipped, b.planted = filepath.Join(folder, "gimbal"), filepath.Join(folder, "gimbal-planted")
	for path, tags := range map[string]string{b.shipped: "", b.planted: "planted"} {
		cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-tags", tags, "-o", path, "./cmd/gimbal")
		cmd.Dir, cmd.Env = tree, append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return b, fmt.Errorf("build of %s: %w\n%s", what, err, out)
		}
	}
	return b, nil
}

// extract writes the files of a commit into a directory, and leaves the repository as it is.
func extract(ctx context.Context, repo, commit, dir string) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	archive := exec.CommandContext(ctx, "git", "-C", repo, "archive", commit)
	unpack := exec.CommandContext(ctx, "tar", "-x", "-C", dir)
	var err error
	if unpack.Stdin, err = archive.StdoutPipe(); err != nil {
		return err
	}
	if err := unpack.Start(); err != nil {
		return err
	}
	return errors.Join(archive.Run(), unpack.Wait())
}

// output is what a command prints, without the last line's end.
func output(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return "", fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, exit.Stderr)
	}
	return strings.TrimSpace(string(out)), err
}

// tierNames are all tiers there are, on any machine.
var tierNames = []string{"amx", "avx512", "avx2", "neon", "generic"}

// tierLine is where "gimbal version" names the tiers: "kernels: [avx2 generic]", and in older builds
// "kernels: avx2 of [avx2 generic]".
var tierLine = regexp.MustCompile(`(?m)\bkernels: (?:\S+ of )?\[([^\]]+)\]`)

// tiers are the kernel tiers that a binary finds on this machine, the machine's own first.
func (b binaries) tiers(ctx context.Context) ([]string, error) {
	out, err := output(ctx, "", b.shipped, "version")
	if err != nil {
		return nil, err
	}
	m := tierLine.FindStringSubmatch(out)
	if m == nil {
		return nil, fmt.Errorf("%s version names no kernel tiers:\n%s", b.shipped, out)
	}
	return strings.Fields(m[1]), nil
}
