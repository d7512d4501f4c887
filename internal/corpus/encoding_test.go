package corpus

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/unicode/utf32"
)

// encode writes a text in another encoding.
func encode(t testing.TB, name, text string) string {
	t.Helper()
	e, err := htmlindex.Get(name)
	switch name {
	case "utf-32le":
		e, err = utf32.UTF32(utf32.LittleEndian, utf32.IgnoreBOM), nil
	case "utf-32be":
		e, err = utf32.UTF32(utf32.BigEndian, utf32.IgnoreBOM), nil
	}
	if err != nil {
		t.Fatal(err)
	}
	s, err := e.NewEncoder().String(text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return s
}

// samples are texts by their encoding: those of package sniff.
var samples = readSamples()

func readSamples() (texts map[string]string) {
	raw, err := os.ReadFile("../sniff/testdata/samples.json")
	if err == nil {
		err = json.Unmarshal(raw, &texts)
	}
	if err != nil {
		panic(err)
	}
	return texts
}

// TestMarks decodes what begins with a byte order mark, in every format of text.
func TestMarks(t *testing.T) {
	dir := t.TempDir()
	text := "Füße, 今天 and 😀\n"
	var want []string
	for _, e := range []string{"utf-16be", "utf-16le", "utf-32be", "utf-32le"} {
		write(t, dir, e+".txt", encode(t, e, "\uFEFF"+text))
		write(t, dir, e+".txt.gz", gzipped(t, encode(t, e, "\uFEFF"+text)))
		want = append(want, text, text)
	}
	write(t, dir, "z.jsonl", encode(t, "utf-16le", "\uFEFF{\"text\":\"ü\"}\r\n{\"text\":\"ö\"}\r\n"))
	want = append(want, "ü", "ö")
	for _, name := range []string{"", "gbk", rawEncoding} { // a mark is stronger
		c, err := discover(t, Options{Encoding: name}, dir).Identify(t.Context(), 2)
		if err != nil {
			t.Fatal(err)
		}
		var tally Tally
		texts, _, err := readAll(c, &tally)
		if err != nil || !slices.Equal(texts, want) || tally.BOMs != 9 {
			t.Errorf("%q: %q, %d marks, %v", name, texts, tally.BOMs, err)
		}
		if f := c.Findings(); len(f) != 4 || !strings.HasPrefix(f[1].Text, "decoded from utf-16le: 3 files (") {
			t.Errorf("findings %+v", f)
		}
	}
}

func TestEncodingKey(t *testing.T) {
	for name, text := range samples {
		dir := t.TempDir()
		write(t, dir, "a.txt", encode(t, name, text))
		write(t, dir, "b.txt", "ASCII only")
		write(t, dir, "c.txt", "UTF-8: "+text)
		spelled := " " + strings.ToUpper(name) + "\n" // told and recorded in one spelling
		c, err := discover(t, Options{Encoding: spelled}, dir).Identify(t.Context(), 2)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		texts, _, err := readAll(c, nil)
		if err != nil || !slices.Equal(texts, []string{text, "ASCII only", "UTF-8: " + text}) {
			t.Errorf("%s: %q, %v", name, texts, err)
		}
		if s := c.Sources; s[0].Encoding != name || s[1].Encoding != "" || s[2].Encoding != "" {
			t.Errorf("%s: decoded %+v", name, s)
		}
		if c.Bytes() != int64(2*len(text)+len("ASCII only"+"UTF-8: ")) {
			t.Errorf("%s: %d bytes of text", name, c.Bytes())
		}
	}
	names := []string{"latin1", "Latin1", "ISO-8859-1", "cp1252", "sjis", "gb2312", "gb18030", "utf-16", "UTF-32BE",
		"utf8", "iso-2022-jp", "macintosh", "cp437", "ibm850", "raw", ""}
	for _, name := range names {
		if err := (Options{Encoding: name}).check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestInvalid leaves out files that are not UTF-8, and stops where they are too much of the text.
func TestInvalid(t *testing.T) {
	gbk := encode(t, "gbk", samples["gbk"])
	good := strings.Repeat("a good line of text\n", 200)
	dir := t.TempDir()
	write(t, dir, "a.txt", good)
	write(t, dir, "b.txt", gbk)
	write(t, dir, "c.txt", good+"\xE9t\xE9") // a thousandth
	found := discover(t, Options{}, dir)
	c, err := found.Identify(t.Context(), 2)
	if err != nil {
		t.Fatal(err)
	}
	if got := paths(c, dir); !slices.Equal(got, []string{"a.txt", "c.txt"}) || c.Skipped[invalidFile] != 1 {
		t.Errorf("sources %q, skipped %v", got, c.Skipped)
	}
	f := c.Findings()
	if len(f) != 1 || !strings.Contains(f[0].Text, "1 file that is not UTF-8 (b.txt)") ||
		!strings.Contains(f[0].Advice, "data.encoding") {
		t.Errorf("findings %+v", f)
	}
	if again, err := c.Identify(t.Context(), 1); err != nil || again != c {
		t.Errorf("identified again: %v", err)
	}
	if len(found.Skipped) != 0 || len(found.Sources) != 3 {
		t.Error("the corpus before it was changed")
	}
	raw, err := discover(t, Options{Encoding: rawEncoding}, dir).Identify(t.Context(), 2)
	if err != nil || len(raw.Sources) != 3 {
		t.Fatalf("raw: %v", err)
	}
	if texts, _, err := readAll(raw, nil); err != nil || texts[1] != gbk {
		t.Errorf("raw: %q, %v", texts[1], err)
	}
	lines := write(t, t.TempDir(), "d.jsonl", "{\"text\":\""+gbk+"\"}")
	for _, path := range []string{filepath.Join(dir, "b.txt"), lines} {
		_, err := discover(t, Options{}, path).Identify(t.Context(), 1)
		fault := new(Error)
		if !errors.As(err, &fault) || !strings.Contains(err.Error(), filepath.Base(path)) ||
			!strings.Contains(fault.Advice, `"gbk"`) || !strings.Contains(fault.Advice, `"raw"`) {
			t.Errorf("%s: %v", path, err)
		}
	}
	// The wrong encoding is found out, too.
	_, err = discover(t, Options{Encoding: "shift_jis"}, write(t, t.TempDir(), "e.txt",
		encode(t, "euc-kr", samples["euc-kr"]))).Identify(t.Context(), 1)
	if err == nil || !strings.Contains(err.Error(), "shift_jis") {
		t.Errorf("the wrong encoding: %v", err)
	}
}
