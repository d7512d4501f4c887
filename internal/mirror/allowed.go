package mirror

import (
	"path/filepath"

	"gimbal/internal/durable"
)

// Allowed reports whether this user has named a place for copies, now or before: a run from elsewhere could name any. A
// place that is named now is remembered.
func Allowed(url string, named bool) bool {
	dir, err := durable.StateDir()
	if err != nil {
		return named
	}
	places, err := durable.OpenLines(filepath.Join(dir, "mirrors"))
	if err != nil {
		return named
	}
	defer places.Close()
	for i := range places.Len() {
		if places.At(i) == url {
			return true
		}
	}
	if named {
		places.Add(url)
	}
	return named
}
