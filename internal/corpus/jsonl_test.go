package corpus

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestJSONL(t *testing.T) {
	deep := strings.Repeat("[", 900) + strings.Repeat("]", 900)
	content := "\xEF\xBB\xBF" + strings.Join([]string{
		`{"text":"plain"}`,
		`  {"id": 7, "text" : "CRLF and escapes: \"\\\/\b\f\n\r\t\u0041\u00e9\u4e2d\ud83d\ude00", "x": {"text": "inner"}}` +
			"\r",
		``,
		" \t\r",
		`{"text":""}`,
		"{\"text\":\"caf\xe9 \xff\"}",
		`{"a":[1,-0.5e+3,true,false,null,{},[],""],"te\u0078t":"key with an escape"}`,
		`{"deep":` + deep + `,"text":"deep"}`,
		`{"text":"\ud83d lone \ud83d\u0041 \ude00"}`,
		`{"Text":"other case","text":"this"}`,
		`{"text":"the last line has no end"}`,
	}, "\n")
	c := discover(t, Options{}, write(t, t.TempDir(), "a.jsonl", content))
	var counts Tally
	texts, refs, err := readAll(c, &counts)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"plain",
		"CRLF and escapes: \"\\/\b\f\n\r\tAé中😀",
		"",
		"caf\xe9 \xff",
		"key with an escape",
		"deep",
		"\xed\xa0\xbd lone \xed\xa0\xbdA \xed\xb8\x80",
		"this",
		"the last line has no end",
	}
	if !slices.Equal(texts, want) {
		t.Errorf("got %q, want %q", texts, want)
	}
	if !reflect.DeepEqual(counts, Tally{BOMs: 1, Blank: 2}) {
		t.Errorf("counts %+v", counts)
	}
	for i, ref := range refs {
		line := content[ref.Offset : ref.Offset+ref.Length]
		if i < len(refs)-1 && strings.IndexByte(line, '\n') != len(line)-1 || !strings.Contains(line, "text") &&
			!strings.Contains(line, "te") {
			t.Errorf("document %d is said to be %q", i, line)
		}
	}
}

func TestJSONLErrors(t *testing.T) {
	for _, c := range []struct {
		line string
		byte int64
		want string
	}{
		{`[]`, 1, "not a JSON object"},
		{`  "text"`, 3, "not a JSON object"},
		{`null`, 1, "not a JSON object"},
		{`{"text":"half`, 14, "ends inside a string"},
		{`{"text":"half\`, 14, "ends inside a string"},
		{`{"text":"half\u00`, 14, "ends inside a string"},
		{`{"text":"x"`, 12, "ends early"},
		{`{"text":`, 9, "ends early"},
		{`{"a":`, 6, "ends early"},
		{`{`, 2, "ends early"},
		{`{"text":7}`, 9, "\"text\" is not a string"},
		{`{"text":["x"]}`, 9, "\"text\" is not a string"},
		{`{"text":"a","text":"b"}`, 13, "a second \"text\""},
		{`{"a":1}`, 1, "no \"text\", \"messages\""},
		{`{"text":"a"} {}`, 14, "more data after the end"},
		{`{"text":"a",}`, 12, "invalid character ','"},
		{`{"text":"\x"}`, 10, "invalid escape sequence"},
		{`{"text":"\u12g4"}`, 10, "invalid escape sequence"},
		{"{\"text\":\"a\tb\"}", 11, "control character"},
		{"{\"text\":\"a\x01b\"}", 11, "control character"},
		{`{"a":01,"text":"b"}`, 7, "expecting ',' or '}'"},
		{`{"a":-,"text":"b"}`, 7, "expecting digit"},
		{`{"a":1.,"text":"b"}`, 8, "expecting digit"},
		{`{"a":1e,"text":"b"}`, 8, "expecting digit"},
		{`{"a":nul,"text":"b"}`, 9, "in literal null (expecting 'l')"},
		{`{'text':'b'}`, 2, `invalid character '\''`},
		{`{"a":` + strings.Repeat("[", 2000) + `}`, 1005, "nested deeper"},
		{`{"a":` + strings.Repeat(`{"b":`, 2000) + `}`, 5000, "nested deeper"},
	} {
		good := "{\"text\":\"good\"}\n"
		path := write(t, t.TempDir(), "a.jsonl", good+"\n"+strings.ReplaceAll(c.line, "\n", " ")+"\n"+good)
		_, _, err := readAll(discover(t, Options{}, path), new(Tally))
		fault := new(Error)
		if !errors.As(err, &fault) {
			t.Errorf("%.40s: %v", c.line, err)
			continue
		}
		if fault.Path != path || fault.Line != 3 || !strings.Contains(fault.What, c.want) ||
			!strings.Contains(fault.Advice, "data.bad_documents") {
			t.Errorf("%.40s: %v, want %q", c.line, err, c.want)
		}
		if c.byte != 5000 && fault.Byte != c.byte {
			t.Errorf("%.40s: byte %d, want %d", c.line, fault.Byte, c.byte)
		}
		var counts Tally
		texts, _, err := readAll(discover(t, Options{BadDocuments: "skip"}, path), &counts)
		if err != nil || !slices.Equal(texts, []string{"good", "good"}) || counts.Bad != 1 || counts.Blank != 1 ||
			!strings.Contains(counts.FirstBad, c.want) {
			t.Errorf("%.40s: skipping gave %q, %+v, %v", c.line, texts, counts, err)
		}
	}
}

// TestJSONLLongLine has one line of the greatest length, and one longer: that one is refused without being held.
func TestJSONLLongLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.jsonl")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	put := func(s string) {
		if _, err := io.WriteString(f, s); err != nil {
			t.Fatal(err)
		}
	}
	const frame = len(`{"text":""}` + "\n")
	filler := strings.Repeat("x", 1<<20)
	for _, size := range []int{maxLine, maxLine + 1} {
		put(`{"text":"`)
		rest := size - frame
		for ; rest > len(filler); rest -= len(filler) {
			put(filler)
		}
		put(filler[:rest] + `"}` + "\n")
	}
	put(`{"text":"end"}`)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	var counts Tally
	texts, refs, err := readAll(discover(t, Options{BadDocuments: "skip"}, path), &counts)
	if err != nil {
		t.Fatal(err)
	}
	if len(texts) != 2 || len(texts[0]) != maxLine-frame || texts[1] != "end" || counts.Bad != 1 ||
		!strings.Contains(counts.FirstBad, ":2:1: a line of more than 64 MiB") {
		t.Errorf("%d documents, %+v", len(texts), counts)
	}
	if refs[1].Offset != 2*maxLine+1 {
		t.Errorf("the last line is said to lie at %d", refs[1].Offset)
	}
}
