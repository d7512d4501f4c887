package device

import (
	"path/filepath"
	"strings"
)

// KindOf tells the kind of hardware from the name of a plugin; "": it does not tell.
func KindOf(path string) string {
	name := strings.ToLower(filepath.Base(path))
	for _, k := range []string{"cuda", "rocm", "oneapi", "tpu", "cpu"} {
		if strings.Contains(name, k) {
			return k
		}
	}
	return ""
}

// Found is a plugin.
type Found struct {
	Path string `json:"path"`
	Kind string `json:"kind"`
}

// Find finds plugins.
func Find() []Found { return nil }

// Places are where Find looks.
func Places() []string { return nil }
