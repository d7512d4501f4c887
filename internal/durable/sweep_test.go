package durable_test

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"gimbal/internal/durable"
)

// TestSweepSparesWhatIsBegun: a folder that was made, but not yet held when a sweep looked at it, is either swept before
// it is given out or not at all.
func TestSweepSparesWhatIsBegun(t *testing.T) {
	dir := t.TempDir()
	stop := make(chan struct{})
	var sweepers, makers sync.WaitGroup
	for range 2 {
		sweepers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					if err := durable.SweepFree(dir, ""); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	for range 4 {
		makers.Go(func() {
			for range 60 {
				tmp, held, err := durable.Unfinished(durable.OS, dir, "cache")
				if err != nil {
					t.Error(err)
					return
				}
				for _, name := range []string{"a", "b", "c"} {
					if err := os.WriteFile(filepath.Join(tmp, name), nil, 0o666); err != nil {
						t.Error(err)
					}
				}
				if _, err := os.Stat(filepath.Join(tmp, "a")); err != nil {
					t.Error(err)
				}
				if err := held.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	makers.Wait()
	close(stop)
	sweepers.Wait()
}
