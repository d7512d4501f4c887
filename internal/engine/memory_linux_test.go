package engine

import (
	"os"
	"path/filepath"
	"testing"
)

// The least room on the way up to the root counts, in both versions of control groups; "max" and huge numbers are no limit.
func TestGroupRoom(t *testing.T) {
	for name, tt := range map[string]struct {
		self    string
		files   map[string]string
		room    int64
		limited bool
	}{
		"none":               {"0::/\n", nil, 0, false},
		"no limit":           {"0::/a\n", map[string]string{"a/memory.max": "max\n", "a/memory.current": "7\n"}, 0, false},
		"a container":        {"0::/\n", map[string]string{"memory.max": "1000\n", "memory.current": "400\n"}, 600, true},
		"a parent's":         {"0::/a/b\n", map[string]string{"a/b/memory.max": "900\n", "a/b/memory.current": "100\n", "a/memory.max": "500\n", "a/memory.current": "450\n"}, 50, true},
		"cached files":       {"0::/a\n", map[string]string{"a/memory.max": "1000\n", "a/memory.current": "990\n", "a/memory.stat": "anon 5\ninactive_file 300\n"}, 310, true},
		"the first version":  {"4:memory:/a\n2:cpu:/b\n", map[string]string{"memory/a/memory.limit_in_bytes": "2000\n", "memory/a/memory.usage_in_bytes": "500\n"}, 1500, true},
		"no limit in it":     {"4:memory:/a\n", map[string]string{"memory/a/memory.limit_in_bytes": "9223372036854771712\n", "memory/a/memory.usage_in_bytes": "5\n"}, 0, false},
		"more than it may":   {"0::/\n", map[string]string{"memory.max": "100\n", "memory.current": "400\n"}, -300, true},
		"garbage on the way": {"nonsense\n0::/a\n", map[string]string{"a/memory.max": "100\n", "a/memory.current": "x\n"}, 0, false},
	} {
		root := t.TempDir()
		for file, body := range tt.files {
			at := filepath.Join(root, file)
			if err := os.MkdirAll(filepath.Dir(at), 0o777); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(at, []byte(body), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		self := filepath.Join(t.TempDir(), "cgroup")
		if err := os.WriteFile(self, []byte(tt.self), 0o666); err != nil {
			t.Fatal(err)
		}
		if room, limited := groupRoom(root, self); room != tt.room || limited != tt.limited {
			t.Errorf("%s: %d, %v; want %d, %v", name, room, limited, tt.room, tt.limited)
		}
	}
	if free := freeMemory(); free <= 0 {
		t.Errorf("this machine has %d bytes free", free)
	}
}
