package parquet

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/pierrec/lz4/v4"
)

// readRows returns every row of a file in memory, with all its columns.
func readRows(file []byte) (rows []any, err error) {
	f, err := Open(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		return nil, err
	}
	names, err := f.Columns()
	if err != nil {
		return nil, err
	}
	t, err := f.Table(names)
	if err != nil {
		return nil, err
	}
	for raw, err := range t.Rows() {
		if err != nil {
			return rows, err
		}
		var row any
		if err := json.Unmarshal(raw, &row); err != nil {
			return rows, errors.New("a row is no JSON: " + string(raw))
		}
		rows = append(rows, row)
	}
	if int64(len(rows)) != f.rows {
		return rows, errors.New("fewer values than rows")
	}
	return rows, nil
}

// TestForeignRows reads nested columns of three other writers; testdata/record_rows.py made the files.
func TestForeignRows(t *testing.T) {
	var recorded struct {
		Sets  map[string][]any  `json:"sets"`
		Files map[string]string `json:"files"`
	}
	if err := json.Unmarshal(testFile(t, "rows.json"), &recorded); err != nil {
		t.Fatal(err)
	}
	if len(recorded.Files) < 10 {
		t.Fatalf("only %d files", len(recorded.Files))
	}
	for name, set := range recorded.Files {
		want := recorded.Sets[set]
		got, err := readRows(testFile(t, name))
		if err != nil || len(got) != len(want) {
			t.Errorf("%s: %d rows of %d, %v", name, len(got), len(want), err)
			continue
		}
		for i := range want {
			if !reflect.DeepEqual(got[i], want[i]) {
				t.Errorf("%s: row %d is\n%v, want\n%v", name, i, got[i], want[i])
				break
			}
		}
	}
}

// TestSomeColumns reads one of the columns, and none that is not there.
func TestSomeColumns(t *testing.T) {
	file := testFile(t, "rows-plain.parquet")
	f, err := Open(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	table, err := f.Table([]string{"system", "absent"})
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for raw, err := range table.Rows() {
		if want := `{"system":null}`; err != nil || rows == 1 && string(raw) != want {
			t.Fatalf("row %d is %s, %v", rows, raw, err)
		}
		if rows++; rows == 5 { // whoever stops early leaves nothing behind
			break
		}
	}
	if n := table.Bytes(); n < 100 || n > 10_000 {
		t.Errorf("said to hold %d bytes", n)
	}
}

// TestHadoopLZ4 unpacks LZ4 in Hadoop's frames and without them, and refuses what is neither.
func TestHadoopLZ4(t *testing.T) {
	text := []byte(strings.Repeat("some text that is packed. ", 100))
	block := func(b []byte) []byte {
		packed := make([]byte, lz4.CompressBlockBound(len(b)))
		n, err := lz4.CompressBlock(b, packed, nil)
		if err != nil || n == 0 {
			t.Fatal(n, err)
		}
		return packed[:n]
	}
	frame := func(b []byte) []byte {
		packed := block(b)
		head := binary.BigEndian.AppendUint32(nil, uint32(len(b)))
		return append(binary.BigEndian.AppendUint32(head, uint32(len(packed))), packed...)
	}
	two := append(frame(text[:1000]), frame(text[1000:])...)
	for name, packed := range map[string][]byte{"framed": frame(text), "two frames": two, "raw": block(text)} {
		if got, err := new(pages).unpack(nil, packed, len(text), lz4Hadoop); err != nil || !bytes.Equal(got, text) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	for _, codec := range []int32{lz4Hadoop, lz4Pack} { // a block without a byte
		for packed, good := range map[string]bool{"": true, "\x00": true, "\x10a": false, "\x00\x00\x00": false} {
			if got, err := new(pages).unpack(nil, []byte(packed), 0, codec); (err == nil) != good || len(got) != 0 {
				t.Errorf("%q: %d bytes, %v", packed, len(got), err)
			}
		}
	}
	for name, packed := range map[string][]byte{
		"empty": nil, "short": two[:7], "cut": two[:len(two)-1], "one of two": frame(text[:1000]),
		"more": append(bytes.Clone(two), frame(text[:1])...),
	} {
		for _, codec := range []int32{lz4Hadoop, lz4Pack} {
			if _, err := new(pages).unpack(nil, packed, len(text), codec); err == nil {
				t.Errorf("%s is unpacked", name)
			}
		}
	}
}

// FuzzRows looks for a file whose rows panic, never end, are no JSON, or cost more memory than their ceiling.
func FuzzRows(f *testing.F) {
	files, err := filepath.Glob(filepath.Join("testdata", "*.parquet"))
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range files {
		f.Add(testFile(f, filepath.Base(name)))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		var err error
		if cost := allocated(func() { err = rowsOf(file) }); cost > rowsCeiling(len(file)) {
			t.Fatalf("%d bytes allocated for a file of %d", cost, len(file))
		}
		if err != nil && strings.HasPrefix(err.Error(), "a row is no JSON") {
			t.Fatal(err)
		}
	})
}

// rowsCeiling is ceiling for many columns, each of which holds pages.
func rowsCeiling(n int) uint64 { return 4 * ceiling(n) }

// rowsOf reads the first rows of a file and keeps none.
func rowsOf(file []byte) error {
	f, err := Open(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		return err
	}
	names, err := f.Columns()
	if err != nil {
		return err
	}
	t, err := f.Table(names)
	if err != nil {
		return err
	}
	n := 0
	for raw, err := range t.Rows() {
		if err != nil {
			return err
		}
		if !json.Valid(raw) && bytes.Equal(raw, bytes.ToValidUTF8(raw, nil)) {
			return errors.New("a row is no JSON: " + string(raw))
		}
		if n++; n == 1000 {
			break
		}
	}
	return nil
}
