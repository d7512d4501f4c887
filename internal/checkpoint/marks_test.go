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

// FuzzMarks: marks that are read come back as they are when they are written again, and hold no negative step.
func FuzzMarks(f *testing.F) {
	for _, s := range []string{`{"last": 7}`, `{"last": 7, "crc32c": 4398046511104}`, "null", "{", `{"crc32c": -1}`,
		`{"a": 1000000000000}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		marks, err := parseMarks(data)
		if err != nil {
			return
		}
		fsys := crash.New()
		if err := errors.Join(fsys.Mkdir("d"), writeMarks(fsys, "d", marks)); err != nil {
			t.Fatal(err)
		}
		if again, err := Marks(fsys, "d"); err != nil || !maps.Equal(again, marks) {
			t.Fatalf("%v is read as %v, %v", marks, again, err)
		}
	})
}

// FuzzManifest: a manifest that is read lists plain names once, and is that of the directory's step.
func FuzzManifest(f *testing.F) {
	for _, m := range []manifest{{Format: 1, Step: 7}, {Format: 1, Step: 7, Files: []fileEntry{{"a", 1, ""}}},
		{Format: 2}} {
		raw, err := m.encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if body, ok := bytes.CutSuffix(data, []byte(manifestTail)); ok && len(body) >= hexLen { // else all are refused
			copy(data[len(body)-hexLen:], selfHash(data))
		}
		fsys := crash.New()
		err := errors.Join(fsys.Mkdir("step-7"), durable.WriteFile(fsys, "step-7/"+ManifestFile, data))
		if err != nil {
			t.Fatal(err)
		}
		m, err := readManifest(fsys, "step-7")
		if err != nil {
			return
		}
		seen := map[string]bool{}
		for _, e := range m.Files {
			if !PlainName(e.Name) || seen[e.Name] || e.Size < 0 {
				t.Fatalf("%+v", m.Files)
			}
			seen[e.Name] = true
		}
		if m.Step != 7 {
			t.Fatalf("step %d", m.Step)
		}
	})
}
