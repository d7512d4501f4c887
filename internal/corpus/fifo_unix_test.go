//go:build unix

package corpus

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestPipe would hang if a pipe without a writer were opened.
func TestPipe(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Skipf("no pipes here: %v", err)
	}
	if _, err := Discover([]string{pipe}, Options{}); err == nil || !strings.Contains(err.Error(), specialFile) {
		t.Errorf("named directly: %v", err)
	}
	write(t, dir, "a.txt", "a")
	if c := discover(t, Options{}, dir); len(c.Sources) != 1 || c.Skipped[specialFile] != 1 {
		t.Errorf("in a folder: %d sources, skipped %v", len(c.Sources), c.Skipped)
	}
}
