package checkpoint

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"gimbal/internal/durable"
	"gimbal/internal/durable/crash"
	"gimbal/internal/safetensors"
	"gimbal/internal/testseed"
)

var update = flag.Bool("update", false, "rewrite testdata")

// random returns a generator whose seed is printed.
var random = testseed.Rand

// snapshot returns a small snapshot; all its content depends on step and version.
func snapshot(step int64, version string) *Snapshot {
	mark := float32(step)*256 + float32(version[0])
	return &Snapshot{
		Step: step,
		Files: map[string][]byte{
			"config.json":    []byte(`{"model_type": "qwen3"}`),
			"state.json":     fmt.Appendf(nil, `{"step": %d, "version": %q}`, step, version),
			"tokenizer.json": bytes.Repeat([]byte("t"), 700),
		},
		Model: []safetensors.Entry{
			{Name: "model.embed_tokens.weight", Shape: []int{16, 8}, Data: filled(128, mark)},
			{Name: "model.norm.weight", Shape: []int{8}, Data: filled(8, mark+1)},
		},
		Optimizer: []safetensors.Entry{{Name: "m", Shape: []int{136}, Data: filled(136, mark+2)}},
	}
}

func filled(n int, v float32) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = v + float32(i)/1024
	}
	return x
}

func save(t *testing.T, fsys durable.FS, s *Snapshot) string {
	t.Helper()
	path, err := Save(fsys, dir, s)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// describe reads all of a checkpoint made from snapshot(step, version) and returns step and version.
func describe(t *testing.T, fsys durable.FS, path string) string {
	t.Helper()
	c, err := Open(fsys, path)
	if err != nil {
		t.Fatal(err)
	}
	state, err := c.File("state.json")
	if err != nil {
		t.Fatal(err)
	}
	var step int64
	var version string
	if _, err := fmt.Sscanf(string(state), `{"step": %d, "version": %q}`, &step, &version); err != nil {
		t.Fatal(err)
	}
	want := snapshot(step, version)
	if c.Step() != step {
		t.Fatalf("%s says it is step %d and holds step %d", path, c.Step(), step)
	}
	for name, data := range want.Files {
		if got, err := c.File(name); err != nil || !bytes.Equal(got, data) {
			t.Fatalf("%s: %s differs: %v", path, name, err)
		}
	}
	for _, part := range []struct {
		file    *safetensors.File
		entries []safetensors.Entry
	}{{c.Model(), want.Model}, {c.Optimizer(), want.Optimizer}} {
		if len(part.file.Tensors()) != len(part.entries) {
			t.Fatalf("%s: %d tensors instead of %d", path, len(part.file.Tensors()), len(part.entries))
		}
		for _, e := range part.entries {
			got := make([]float32, len(e.Data))
			if err := part.file.ReadF32(got, e.Name); err != nil || !reflect.DeepEqual(got, e.Data) {
				t.Fatalf("%s: tensor %s differs: %v", path, e.Name, err)
			}
		}
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(step, version)
}

// names lists the directory of checkpoints.
func names(t *testing.T, fsys durable.FS) string {
	t.Helper()
	entries, err := fsys.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return strings.Join(all, " ")
}

func read(t *testing.T, fsys durable.FS, name string) []byte {
	t.Helper()
	data, err := durable.ReadFile(fsys, name, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func overwrite(t *testing.T, fsys durable.FS, name string, data []byte) {
	t.Helper()
	if err := durable.WriteNew(fsys, name, func(w io.Writer) error { _, err := w.Write(data); return err }); err != nil {
		t.Fatal(err)
	}
}

// damage flips a bit in the middle of a file.
func damage(t *testing.T, fsys durable.FS, name string) {
	t.Helper()
	data := read(t, fsys, name)
	data[len(data)/2] ^= 4
	overwrite(t, fsys, name, data)
}

// TestSaveTrace pins the order of file operations of one Save: durability is reviewed as text.
func TestSaveTrace(t *testing.T) {
	golden, nonce := "testdata/save.txt", regexp.MustCompile(`(\.tmp-[^/ ]+)-[0-9a-f]{12}`)
	var out strings.Builder
	for _, name := range []string{"first", "next", "same step, other content"} {
		for _, sc := range scenarios {
			if sc.name != name {
				continue
			}
			fsys := sc.prepared(t)
			save(t, fsys, sc.save)
			fmt.Fprintf(&out, "# %s\n%s\n\n", name, nonce.ReplaceAllString(strings.Join(fsys.Trace(), "\n"), "$1-NONCE"))
		}
	}
	if *update {
		if err := os.WriteFile(golden, []byte(out.String()), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got := out.String(); got != strings.ReplaceAll(string(want), "\r\n", "\n") {
		t.Errorf("the operations differ from %s (-update rewrites it):\n%s", golden, got)
	}
}

// TestDetection damages a checkpoint in every way and demands that Open sees each.
func TestDetection(t *testing.T) {
	rnd := random(t)
	fsys := crash.New()
	path := save(t, fsys, snapshot(10, "a"))
	other := save(t, fsys, snapshot(20, "b"))
	entries, err := fsys.ReadDir(path)
	if err != nil || len(entries) != 6 {
		t.Fatalf("%d files, %v", len(entries), err)
	}
	mutations := 0
	refused := func(format string, args ...any) {
		t.Helper()
		mutations++
		c, err := Open(fsys, path)
		if err == nil {
			t.Errorf("%s: opened", fmt.Sprintf(format, args...))
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		} else if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", fmt.Sprintf(format, args...), err)
		}
	}
	for _, e := range entries {
		name := filepath.Join(path, e.Name())
		good := read(t, fsys, name)
		for range 2000 {
			data, at, bit := bytes.Clone(good), rnd.IntN(len(good)), rnd.IntN(8)
			data[at] ^= 1 << bit
			overwrite(t, fsys, name, data)
			refused("%s: bit %d of byte %d flipped", e.Name(), bit, at)
		}
		for size := 0; size < len(good); size += 1 + len(good)/100 {
			overwrite(t, fsys, name, good[:size])
			refused("%s: truncated to %d of %d bytes", e.Name(), size, len(good))
		}
		overwrite(t, fsys, name, append(bytes.Clone(good), 0))
		refused("%s: a byte appended", e.Name())
		if err := fsys.Remove(name); err != nil {
			t.Fatal(err)
		}
		refused("%s: missing", e.Name())
		if err := fsys.Mkdir(name); err != nil {
			t.Fatal(err)
		}
		refused("%s: a directory", e.Name())
		if err := fsys.Remove(name); err != nil {
			t.Fatal(err)
		}
		for _, f := range entries {
			if f.Name() != e.Name() {
				overwrite(t, fsys, name, read(t, fsys, filepath.Join(path, f.Name())))
				refused("%s: replaced by %s", e.Name(), f.Name())
			}
		}
		if from := read(t, fsys, filepath.Join(other, e.Name())); !bytes.Equal(from, good) {
			overwrite(t, fsys, name, from)
			refused("%s: from another step", e.Name())
		}
		overwrite(t, fsys, name, good)
	}
	if got := describe(t, fsys, path); got != "10a" {
		t.Errorf("mended: %s", got)
	}
	if err := errors.Join(fsys.RemoveAll(path), fsys.Rename(other, path)); err != nil {
		t.Fatal(err)
	}
	refused("a whole checkpoint of another step")
	t.Logf("%d mutations, all detected: %v", mutations, !t.Failed())
}

// TestManifest checks what a correct hash does not tell.
func TestManifest(t *testing.T) {
	fsys := crash.New()
	path := save(t, fsys, snapshot(10, "a"))
	name := filepath.Join(path, ManifestFile)
	good := read(t, fsys, name)
	for _, c := range []struct {
		what, from, to string
		want           error
	}{
		{"newer format", `"format": 1`, `"format": 2`, ErrVersion},
		{"newer format with new fields", `"format": 1`, `"format": 2, "shards": {}`, ErrVersion},
		{"unknown field", `"format": 1`, `"format": 1, "shards": {}`, ErrCorrupt},
		{"path", `"config.json"`, `"../config.json"`, ErrCorrupt},
		{"hidden", `"config.json"`, `".config.json"`, ErrCorrupt},
		{"backslash", `"config.json"`, `"a\\config.json"`, ErrCorrupt},
		{"twice", `"state.json"`, `"config.json"`, ErrCorrupt},
		{"other step", `"step": 10`, `"step": 11`, ErrCorrupt},
		{"no model", `"model.safetensors"`, `"config.json"`, ErrCorrupt},
		{"negative size", `"size": 2`, `"size": -2`, ErrCorrupt},
		{"not JSON", `"files": [`, `"files": {`, ErrCorrupt},
	} {
		data := bytes.Replace(good, []byte(c.from), []byte(c.to), 1)
		if bytes.Equal(data, good) {
			t.Fatalf("%s changes nothing in %s", c.what, good)
		}
		copy(data[len(data)-len(manifestTail)-hexLen:], selfHash(data))
		overwrite(t, fsys, name, data)
		if _, err := Open(fsys, path); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.what, err, c.want)
		}
	}
	// A newer program's checkpoint is neither replaced nor pruned.
	data := bytes.Replace(good, []byte(`"format": 1`), []byte(`"format": 2`), 1)
	copy(data[len(data)-len(manifestTail)-hexLen:], selfHash(data))
	overwrite(t, fsys, name, data)
	if _, err := Save(fsys, dir, snapshot(10, "b")); !errors.Is(err, ErrVersion) {
		t.Errorf("saving over a newer format: %v", err)
	}
	save(t, fsys, snapshot(20, "a"))
	if removed, err := Prune(fsys, dir, 1, nil); err != nil || len(removed) > 0 {
		t.Errorf("pruned %v, %v", removed, err)
	}
}

func TestNewest(t *testing.T) {
	fsys := crash.New()
	if _, _, err := Newest(fsys, dir); !errors.Is(err, ErrNone) {
		t.Errorf("no directory: %v", err)
	}
	for step := int64(8); step <= 12; step++ {
		save(t, fsys, snapshot(step, "a"))
	}
	damage(t, fsys, dir+"/step-12/model.safetensors")
	if err := fsys.Remove(dir + "/step-11/manifest.json"); err != nil {
		t.Fatal(err)
	}
	for _, litter := range []string{".tmp-99-abc", "step-x", "step-0100", "step--1", "other"} {
		if err := fsys.Mkdir(filepath.Join(dir, litter)); err != nil {
			t.Fatal(err)
		}
	}
	overwrite(t, fsys, dir+"/step-50", []byte("a file"))
	path, refused, err := Newest(fsys, dir)
	if err != nil || path != filepath.Join(dir, "step-10") {
		t.Fatalf("got %s, %v", path, err)
	}
	var got []string
	for _, r := range refused {
		got = append(got, filepath.ToSlash(r.Error()))
	}
	want := []string{
		"checkpoint: open run/checkpoints/step-50: it is not a directory: corrupt checkpoint",
		"checkpoint: run/checkpoints/step-12: model.safetensors differs from what was saved (hash): corrupt checkpoint: " +
			"restore it from a copy, or use another checkpoint",
		"checkpoint: run/checkpoints/step-11: manifest.json is missing: corrupt checkpoint: restore it from a copy, or " +
			"use another checkpoint",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("refused:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, step := range []string{"8", "9", "10"} {
		damage(t, fsys, dir+"/step-"+step+"/state.json")
	}
	if _, refused, err := Newest(fsys, dir); !errors.Is(err, ErrNone) || len(refused) != 6 {
		t.Errorf("all damaged: %d refused, %v", len(refused), err)
	}
	before := names(t, fsys)
	if removed, err := Prune(fsys, dir, 1, nil); !errors.Is(err, ErrNone) || len(removed) > 0 || names(t, fsys) != before {
		t.Errorf("all damaged: pruned %v, %v", removed, err)
	}
}

func TestPrune(t *testing.T) {
	fsys := crash.New()
	if removed, err := Prune(fsys, dir, 3, nil); err != nil || len(removed) > 0 {
		t.Fatalf("no directory: %v, %v", removed, err)
	}
	for step := int64(1); step <= 9; step++ {
		save(t, fsys, snapshot(step, "a"))
	}
	if err := errors.Join(
		SetMark(fsys, dir, "best-loss", 2), SetMark(fsys, dir, "stable", 3), SetMark(fsys, dir, "last", 9),
		SetMark(fsys, dir, "stable", 4), // moves
		fsys.Mkdir(dir+"/.tmp-77-dead/x"),
	); err != nil {
		t.Fatal(err)
	}
	if err := SetMark(fsys, dir, "best-loss", 77); !errors.Is(err, ErrNone) {
		t.Errorf("marking what is not there: %v", err)
	}
	damage(t, fsys, dir+"/step-9/state.json")         // not seen without reading it
	overwrite(t, fsys, dir+"/step-7/state.json", nil) // seen
	removed, err := Prune(fsys, dir, 2, []string{"step-1", filepath.Join(dir, "step-100")})
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(removed, " "); got != "step-7 step-5 step-3" {
		t.Errorf("removed %s", got)
	}
	if got := names(t, fsys); got != "marks.json step-1 step-2 step-4 step-6 step-8 step-9" {
		t.Errorf("left: %s", got)
	}
	infos, err := List(fsys, dir)
	if err != nil || len(infos) != 6 {
		t.Fatalf("%d listed, %v", len(infos), err)
	}
	if i := infos[4]; i.Step != 2 || i.Path != filepath.Join(dir, "step-2") || i.Err != nil {
		t.Errorf("listed: %+v", i)
	}
	marks, err := Marks(fsys, dir)
	if err != nil || !reflect.DeepEqual(marks, map[string]int64{"best-loss": 2, "stable": 4, "last": 9}) {
		t.Errorf("marks: %v, %v", marks, err)
	}
	overwrite(t, fsys, dir+"/"+marksFile, []byte("garbage"))
	if removed, err := Prune(fsys, dir, 1, nil); err == nil || len(removed) > 0 {
		t.Errorf("with unreadable marks: pruned %v, %v", removed, err)
	}
	if removed, err := Prune(crash.New(), dir, -1, nil); err != nil || len(removed) > 0 {
		t.Errorf("empty: %v, %v", removed, err)
	}
	if err := fsys.Remove(dir + "/" + marksFile); err != nil {
		t.Fatal(err)
	}
	if _, err := Prune(fsys, dir, 0, nil); err != nil {
		t.Fatal(err)
	}
	if got := names(t, fsys); got != "step-8 step-9" { // the newest valid, and the newer one
		t.Errorf("keep 0 left: %s", got)
	}
}

func TestOpenWeights(t *testing.T) {
	fsys := crash.New()
	path := save(t, fsys, snapshot(10, "a"))
	c, err := OpenWeights(fsys, path)
	if err != nil || c.Step() != 10 || c.Optimizer() == nil {
		t.Fatalf("with a manifest: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(fsys.Remove(path+"/"+ManifestFile), fsys.Rename(path, "model")); err != nil {
		t.Fatal(err)
	}
	// What says that it was a checkpoint of a run wants the proof that this had, whatever is left.
	for _, name := range []string{"state.json", OptimizerFile} {
		if _, err := OpenWeights(fsys, "model"); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(),
			ManifestFile) {
			t.Errorf("with %s and without a manifest: %v", name, err)
		}
		if err := fsys.Remove("model/" + name); err != nil {
			t.Fatal(err)
		}
	}
	if err := fsys.Rename("model", "step-10"); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenWeights(fsys, "step-10"); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a step without a manifest: %v", err)
	}
	if err := fsys.Rename("step-10", "model"); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(fsys, "model"); !errors.Is(err, ErrCorrupt) {
		t.Errorf("Open without a manifest: %v", err)
	}
	c, err = OpenWeights(fsys, "model")
	if err != nil {
		t.Fatal(err)
	}
	got := make([]float32, 8)
	if err := c.Model().ReadF32(got, "model.norm.weight"); err != nil || c.Step() != 0 || c.Optimizer() != nil ||
		c.Path() != "model" {
		t.Errorf("weights only: %v", err)
	}
	if data, err := c.File("config.json"); err != nil || len(data) == 0 {
		t.Errorf("config.json: %v", err)
	}
	if _, err := c.File("../model/config.json"); err == nil {
		t.Error("a path was read")
	}
	if _, err := c.File("none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	if err := errors.Join(c.Close(), c.Close()); err != nil {
		t.Error(err)
	}
	overwrite(t, fsys, "model/"+ModelFile, []byte("short"))
	if _, err := OpenWeights(fsys, "model"); !errors.Is(err, ErrCorrupt) {
		t.Errorf("malformed: %v", err)
	}
	for _, other := range []struct{ file, want string }{
		{ModelFile + ".index.json", "in shards"}, {"pytorch_model.bin", "pickle"}, {"README.md", "has no model.safetensors"},
	} {
		overwrite2 := crash.New()
		if err := overwrite2.Mkdir("m"); err != nil {
			t.Fatal(err)
		}
		overwrite(t, overwrite2, "m/"+other.file, nil)
		if _, err := OpenWeights(overwrite2, "m"); !errors.Is(err, ErrNone) || !strings.Contains(err.Error(), other.want) {
			t.Errorf("%s: %v", other.file, err)
		}
	}
	if _, err := OpenWeights(fsys, "none"); !errors.Is(err, ErrNone) {
		t.Errorf("missing: %v", err)
	}
}

func TestSaveRefuses(t *testing.T) {
	fsys := crash.New()
	for _, name := range []string{"", ".", "..", "a/b", `a\b`, "c:d", ".hidden", ModelFile, OptimizerFile, ManifestFile} {
		s := snapshot(1, "a")
		s.Files[name] = nil
		if _, err := Save(fsys, dir, s); err == nil {
			t.Errorf("file %q was saved", name)
		}
	}
	s := snapshot(-1, "a")
	if _, err := Save(fsys, dir, s); err == nil {
		t.Error("step -1 was saved")
	}
	s = snapshot(1, "a")
	s.Model[0].Shape = []int{3}
	if _, err := Save(fsys, dir, s); !errors.Is(err, safetensors.ErrFormat) {
		t.Errorf("bad shape: %v", err)
	}
	if path, _, err := Newest(fsys, dir); !errors.Is(err, ErrNone) {
		t.Errorf("something was saved: %s, %v", path, err)
	}
}

// TestRealDisk saves, replaces, prunes and opens on the real file system, in a directory that may be copied.
func TestRealDisk(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "checkpoints")
	for _, s := range []*Snapshot{snapshot(1, "a"), snapshot(2, "a"), snapshot(2, "b"), snapshot(3, "a"),
		snapshot(3, "a")} {
		if _, err := Save(durable.OS, dir, s); err != nil {
			t.Fatal(err)
		}
	}
	path, refused, err := Newest(durable.OS, dir)
	if err != nil || len(refused) > 0 || describe(t, durable.OS, path) != "3a" {
		t.Fatalf("newest: %s, %v, %v", path, refused, err)
	}
	if removed, err := Prune(durable.OS, dir, 2, nil); err != nil || !reflect.DeepEqual(removed, []string{"step-1"}) {
		t.Fatalf("removed %v, %v", removed, err)
	}
	if got := describe(t, durable.OS, filepath.Join(dir, "step-2")); got != "2b" {
		t.Errorf("replaced: %s", got)
	}
	if err := os.Rename(path, filepath.Join(root, "my model")); err != nil {
		t.Fatal(err)
	}
	if got := describe(t, durable.OS, filepath.Join(root, "my model")); got != "3a" {
		t.Errorf("moved: %s", got)
	}
}
