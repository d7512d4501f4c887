package parquet

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// read returns the column "text" of a file in memory, nil for null.
func read(file []byte) (values []*string, err error) {
	f, err := Open(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		return nil, err
	}
	c, err := f.Column("text")
	if err != nil {
		return nil, err
	}
	for v, err := range c.Values() {
		switch {
		case err == nil:
			s := string(v)
			values = append(values, &s)
		case errors.Is(err, ErrNull):
			values = append(values, nil)
		default:
			return values, err
		}
	}
	if int64(len(values)) != f.rows {
		return values, errors.New("fewer values than rows")
	}
	return values, nil
}

func testFile(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestForeignFiles reads what three other writers wrote; testdata/record.py made the files.
func TestForeignFiles(t *testing.T) {
	var recorded struct {
		Sets  map[string][]*string `json:"sets"`
		Files map[string]string    `json:"files"`
	}
	if err := json.Unmarshal(testFile(t, "files.json"), &recorded); err != nil {
		t.Fatal(err)
	}
	if len(recorded.Files) < 13 {
		t.Fatalf("only %d files", len(recorded.Files))
	}
	for name, set := range recorded.Files {
		want := recorded.Sets[set]
		got, err := read(testFile(t, name))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(got) != len(want) {
			t.Errorf("%s: %d rows, want %d", name, len(got), len(want))
			continue
		}
		for i := range want {
			if (got[i] == nil) != (want[i] == nil) || got[i] != nil && *got[i] != *want[i] {
				t.Errorf("%s: row %d differs", name, i)
				break
			}
		}
	}
}

func TestRefused(t *testing.T) {
	good := testFile(t, "plain.parquet")
	longer := bytes.Clone(good)
	binary.LittleEndian.PutUint32(longer[len(good)-8:], uint32(len(good)))
	huge := bytes.Clone(good)
	binary.LittleEndian.PutUint32(huge[len(good)-8:], 1<<31)
	encrypted := append(bytes.Clone(good[:len(good)-4]), "PARE"...)
	for _, c := range []struct {
		name string
		file []byte
		want string
	}{
		{"empty", nil, "no Parquet file"},
		{"marks alone", []byte("PAR1PAR1"), "no Parquet file"},
		{"text", []byte("text that is no such file"), "no Parquet file"},
		{"numbers", testFile(t, "bad-numbers.parquet"), "holds no strings"},
		{"lists", testFile(t, "bad-list.parquet"), "holds lists"},
		{"another name", testFile(t, "bad-name.parquet"), "there is no column \"text\""},
		{"footer longer than the file", longer, "do not fit a file"},
		{"footer of 2 GiB", huge, "are more than"},
		{"encrypted", encrypted, "it is encrypted"},
	} {
		_, err := read(c.file)
		if fault := new(Error); !errors.As(err, &fault) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

// ceiling is what a file of n bytes may cost: a few times the file, and a constant that is far below what a declared
// length could ask for.
func ceiling(n int) uint64 { return 64<<20 + 16*uint64(n) }

// allocated returns the bytes that f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestDamaged flips, cuts and pastes bytes of good files: an error or not, never a panic, never more memory than the
// ceiling.
func TestDamaged(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	files, err := filepath.Glob(filepath.Join("testdata", "*.parquet"))
	if err != nil || len(files) < 15 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	refused := 0
	for _, name := range files {
		good := testFile(t, filepath.Base(name))
		for range 300 {
			b := bytes.Clone(good)
			for range 1 + r.IntN(4) {
				at := r.IntN(len(b))
				if r.IntN(2) == 0 { // the footer is where the lengths are
					at = len(b) - 1 - r.IntN(min(len(b), 600))
				}
				b[at] = []byte{0, 0xFF, 0x7F, 0x80, byte(r.Uint32())}[r.IntN(5)]
			}
			if r.IntN(8) == 0 {
				b = b[:r.IntN(len(b))]
			}
			var err error
			if cost := allocated(func() { _, err = read(b) }); cost > ceiling(len(b)) {
				t.Errorf("%s: %d bytes allocated for a file of %d", name, cost, len(b))
			}
			if err != nil {
				refused++
			}
			if cost := allocated(func() { _ = rowsOf(b) }); cost > rowsCeiling(len(b)) {
				t.Errorf("%s: %d bytes allocated for the rows of a file of %d", name, cost, len(b))
			}
		}
	}
	if refused < 1000 {
		t.Errorf("only %d files were refused", refused)
	}
}

// TestHostileLengths has the files of which readers of this format are known to ask for gigabytes.
func TestHostileLengths(t *testing.T) {
	tail := func(footer ...byte) []byte {
		b := append([]byte("PAR1"), footer...)
		b = binary.LittleEndian.AppendUint32(b, uint32(len(footer)))
		return append(b, "PAR1"...)
	}
	for name, file := range map[string][]byte{
		"eight bytes":         []byte("PAR1PAR1"),
		"footer of 4 GB":      []byte("PAR1\xff\xff\xff\xffPAR1"),
		"list of 2^31":        tail(0x15, 2, 0x19, 0xFC, 0xFF, 0xFF, 0xFF, 0xFF, 0x07),
		"name of 2^40 bytes":  tail(0x15, 2, 0x19, 0x1C, 0x48, 0x80, 0x80, 0x80, 0x80, 0x80, 0x20),
		"2^60 rows":           tail(0x15, 2, 0x36, 0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F, 0),
		"map of 2^60":         tail(0xFB, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F, 0x88),
		"nested lists":        tail(bytes.Repeat([]byte{0x19}, 4000)...),
		"nested structs":      tail(bytes.Repeat([]byte{0x1C}, 4000)...),
		"number without end":  tail(0x16, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF),
		"field without value": tail(0x16),
	} {
		var err error
		if cost := allocated(func() { _, err = read(file) }); cost > 1<<20 || err == nil {
			t.Errorf("%s: %v, %d bytes allocated", name, err, cost)
		}
	}
	// A page that states how large it will be.
	for _, size := range []uint64{1 << 20, 1 << 26, 1<<31 - 1} {
		page := append([]byte{0x15, 0, 0x15}, binary.AppendUvarint(nil, 2*size)...) // kind, bytes unpacked
		page = append(page, 0x15, 20, 0x2C, 0x15, 2, 0x15, 0, 0x15, 6, 0x15, 6, 0, 0)
		h, err := parseHeader(page)
		if (err == nil) != (size == 1<<20) {
			t.Errorf("a page of 10 bytes and %d: %+v, %v", size, h, err)
		}
	}
}

// FuzzParquet looks for a file that panics, or costs more memory than its ceiling.
func FuzzParquet(f *testing.F) {
	files, err := filepath.Glob(filepath.Join("testdata", "*.parquet"))
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range files {
		f.Add(testFile(f, filepath.Base(name)))
	}
	f.Add([]byte("PAR1PAR1"))
	f.Fuzz(func(t *testing.T, file []byte) {
		if cost := allocated(func() { _, _ = read(file) }); cost > ceiling(len(file)) {
			t.Fatalf("%d bytes allocated for a file of %d", cost, len(file))
		}
	})
}
