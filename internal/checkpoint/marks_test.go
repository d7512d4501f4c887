package checkpoint

import (
	"bytes"
	"errors"
	"maps"
	"testing"

	"gimbal/internal/durable"
	"gimbal/internal/durable/crash"
)

// No byte of the marks can change so that another step has a name; those of older versions are read.
func TestMarksAreChecked(t *testing.T) {
	fsys := crash.New()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]int64{"best-loss": 120, "last": 140, "stable": 0}
	must(fsys.Mkdir("dir"))
	must(SetMarks(fsys, "dir", want))
	raw, err := durable.ReadFile(fsys, "dir/marks.json", 1<<20)
	must(err)
	try := func(data []byte) (map[string]int64, error) {
		must(durable.WriteFile(fsys, "dir/marks.json", data))
		return Marks(fsys, "dir")
	}
	for i := range raw {
		for _, b := range []byte("0123456789-+.eE\" \n\t,:{}[]abcxyz\x00\xff") {
			bad := bytes.Clone(raw)
			bad[i] = b
			got, err := try(bad)
			if err == nil && !maps.Equal(got, want) || err != nil && !errors.Is(err, ErrCorrupt) {
				t.Errorf("byte %d became %q: %v, %v", i, b, got, err)
			}
		}
		if got, err := try(raw[:i]); err == nil && !maps.Equal(got, want) {
			t.Errorf("cut after %d bytes: %v", i, got)
		}
	}
	if got, err := try([]byte(`{"last": 7}`)); err != nil || !maps.Equal(got, map[string]int64{"last": 7}) {
		t.Errorf("an older version: %v, %v", got, err)
	}
	must(SetMarks(fsys, "dir", map[string]int64{"last": 9}))
	if got, err := Marks(fsys, "dir"); err != nil || !maps.Equal(got, map[string]int64{"last": 9}) {
		t.Errorf("%v, %v", got, err)
	}
}
