package record

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// allValues returns the values of a stream, and the error that ends them unless it is io.EOF.
func allValues(v *Values) (values []string, lies []Lies, err error) {
	for {
		value, err := v.Next()
		if err == io.EOF {
			return values, lies, nil
		}
		if err != nil {
			return values, lies, err
		}
		values, lies = append(values, string(value)), append(lies, v.Lies)
	}
}

func TestValues(t *testing.T) {
	for text, want := range map[string][]string{
		`[]`: nil, ` [ ] `: nil, ``: nil, " \n": nil,
		`[{"a":[1,"]"]},{"b":"\"}"}]`:       {`{"a":[1,"]"]}`, `{"b":"\"}"}`},
		"\n[\n {}\n,\n {\"x\":\n1}\n]\r\n":  {"{}", "{\"x\":\n1}"},
		"{} {\"a\":{}}\n{\"b\":[]}":         {"{}", `{"a":{}}`, `{"b":[]}`},
		`[1, "a,b" ,true,[2],null]`:         {"1", `"a,b"`, "true", "[2]", "null"},
		`1 "a" [2]`:                         {"1", `"a"`, "[2]"},
		`[{},,{}]`:                          {"{}", "", "{}"},
		`[{},]`:                             {"{}", ""},
		`{"a":"\\"}{"b":"\\\""}`:            {`{"a":"\\"}`, `{"b":"\\\""}`},
		`}{} ]`:                             {"}", "{}", "]"},
		"{\"a\":\"\xff\xfe\"}":              {"{\"a\":\"\xff\xfe\"}"},
		`[[{}],[{"text":"x"}]]`:             {"[{}]", `[{"text":"x"}]`},
		`[{"a":1} , {"b":2}  ]` + "\n \t\r": {`{"a":1}`, `{"b":2}`},
	} {
		for _, r := range []io.Reader{strings.NewReader(text), iotest.OneByteReader(strings.NewReader(text))} {
			got, lies, err := allValues(NewValues(bufio.NewReader(r), 0))
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("%q: %q, %v, want %q", text, got, err, want)
				break
			}
			for i, l := range lies {
				if text[l.At:l.At+l.Size] != got[i] || l.Line != int64(1+strings.Count(text[:l.At], "\n")) {
					t.Errorf("%q: value %d is said to lie at %+v", text, i, l)
				}
			}
		}
	}
	for text, want := range map[string]string{
		`[`: "cut off", `[{}`: "cut off", `[{},`: "cut off", `[{"a":`: "cut off", "{\"a\":\n\"b": "cut off",
		`[{}] {}`: "more data after the end", `[{} {}]`: "no comma between",
	} {
		v := NewValues(bufio.NewReader(strings.NewReader(text)), 0)
		if _, _, err := allValues(v); err == nil || !strings.Contains(err.Error(), want) ||
			v.Line != int64(1+strings.Count(text, "\n")) {
			t.Errorf("%q: %v in line %d, want %q", text, err, v.Line, want)
		}
	}
}

// TestLongValue passes over a value that is too long, without holding it, or gives up at once.
func TestLongValue(t *testing.T) {
	long := func() io.Reader {
		begin, end := strings.NewReader(`[{"a":"`), strings.NewReader(`"},{"b":1}]`)
		return io.MultiReader(begin, io.LimitReader(zeros{}, MaxBytes), end)
	}
	v := NewValues(bufio.NewReader(long()), 0)
	if _, err := v.Next(); err != ErrLong {
		t.Fatal(err)
	}
	if value, err := v.Next(); err != nil || string(value) != `{"b":1}` {
		t.Errorf("%q, %v", value, err)
	}
	if cap(v.buf) > 2*MaxBytes {
		t.Errorf("%d bytes are held", cap(v.buf))
	}
	r := long()
	v = NewValues(bufio.NewReader(r), 1000)
	if _, err := v.Next(); err != ErrLong {
		t.Fatal(err)
	}
	if rest, _ := io.Copy(io.Discard, r); rest < MaxBytes-1<<16 {
		t.Errorf("only %d bytes are left unread", rest)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '0'
	}
	return len(p), nil
}

// FuzzValues cuts arrays and lines as encoding/json does, and ends on anything else.
func FuzzValues(f *testing.F) {
	for _, s := range []string{`[{"a":[1]},{"b":"]"}]`, "{}\n{}", `[1,2`, `[,]`, `}`, "[{} {}]", `"a"1`, `[[[`,
		`{"\"":"\\"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		v := NewValues(bufio.NewReader(bytes.NewReader(text)), 0)
		got, lies, err := allValues(v)
		if len(got) > len(text)+1 {
			t.Fatalf("%d values of %d bytes", len(got), len(text))
		}
		for i, l := range lies {
			if string(text[l.At:l.At+l.Size]) != got[i] {
				t.Fatalf("value %d is said to lie at %+v", i, l)
			}
		}
		var want []json.RawMessage
		if json.Unmarshal(text, &want) != nil || bytes.TrimSpace(text)[0] != '[' {
			return
		}
		if err != nil || len(got) != len(want) {
			t.Fatalf("%d values, %v, want %d", len(got), err, len(want))
		}
		for i := range want {
			if got[i] != string(want[i]) {
				t.Fatalf("value %d is %q, want %q", i, got[i], want[i])
			}
		}
	})
}

// allRows returns the header and the rows of a table.
func allRows(r io.Reader) (header []string, rows []string, lies []Lies, err error) {
	t, err := NewTable(bufio.NewReader(r))
	if err != nil {
		return nil, nil, nil, err
	}
	for {
		row, err := t.Next()
		if err == io.EOF {
			return t.Header, rows, lies, nil
		}
		if isRow := errors.As(err, new(*Error)); isRow {
			row = []byte(err.Error())
		} else if err != nil {
			return t.Header, rows, lies, err
		}
		rows, lies = append(rows, string(row)), append(lies, t.Lies)
	}
}

func TestTable(t *testing.T) {
	const wrong, missing = "broken row: wrong number", "broken row: extraneous or missing \""
	for text, want := range map[string][]string{
		"text\na\n\nb": {`{"text":"a"}`, `{"text":"b"}`},
		"id,text\r\n1,\"two\r\nlines, \"\"x\"\"\"":  {`{"id":"1","text":"two\u000alines, \"x\""}`},
		"id\ttext\n1\ta,b\n":                        {`{"id":"1","text":"a,b"}`},
		"text; id\na;1\n":                           {`{"text":"a","id":"1"}`},
		"\"a\",\"b\"\n,\n":                          {`{"a":"","b":""}`},
		"a,b\n1\n1,2,3\n1,\"2\n":                    {wrong, wrong, missing},
		"a,b\nx\"y,1\n\"x\"y,1\n2,\xff\n":           {"broken row: bare \"", missing, "{\"a\":\"2\",\"b\":\"\xff\"}"},
		"a,a\n1,2\n":                                {`{"a":"1","a":"2"}`},
		"text\n" + strings.Repeat("long ", 100_000): {`{"text":"` + strings.Repeat("long ", 100_000) + `"}`},
	} {
		_, rows, lies, err := allRows(strings.NewReader(text))
		if err != nil || !slices.EqualFunc(rows, want, strings.HasPrefix) {
			t.Errorf("%.60q: %.200q, %v, want %.200q", text, rows, err, want)
		}
		for i := 1; i < len(lies); i++ {
			if lies[i].At != lies[i-1].At+lies[i-1].Size || lies[i].Line <= lies[i-1].Line {
				t.Errorf("%.60q: rows lie at %+v", text, lies)
			}
		}
	}
	// A quote that is not closed does not make one row of gigabytes.
	endless := io.MultiReader(strings.NewReader("text,id\na,1\n\""), io.LimitReader(zeros{}, 4*MaxBytes))
	if _, rows, _, err := allRows(endless); err != ErrFence || len(rows) != 1 {
		t.Errorf("%d rows, %v", len(rows), err)
	}
}

// FuzzTable compares with the csv package.
func FuzzTable(f *testing.F) {
	for _, s := range []string{"text,id\na,1\n", "a\tb\n\"x\n\ty\"\tz", "a;b\n\"", "a\n\n\nb",
		"\"a\"\"\",b\r\n1,2", "a,b\n1\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		header, rows, _, err := allRows(bytes.NewReader(text))
		if err != nil {
			return
		}
		first, _, _ := bytes.Cut(text[:min(len(text), 4096)], []byte("\n"))
		r := csv.NewReader(bytes.NewReader(text))
		r.Comma = commaOf(first)
		want, err := r.ReadAll()
		if err != nil {
			return // the rest was read after a broken row
		}
		if len(want) == 0 || len(rows) != len(want)-1 || len(header) != len(want[0]) {
			t.Fatalf("%d rows, want %d", len(rows), len(want)-1)
		}
		p := New(Fields{})
		for i, row := range rows {
			p.Parse([]byte(row))
			var cells map[string]string
			if err := json.Unmarshal([]byte(row), &cells); err != nil {
				t.Fatalf("a row is no JSON: %q", row)
			}
			for k, name := range header {
				if slices.Index(header[k+1:], name) < 0 && bytes.Equal(text, bytes.ToValidUTF8(text, nil)) &&
					cells[name] != want[i+1][k] {
					t.Fatalf("row %d: %q is %q, want %q", i, name, cells[name], want[i+1][k])
				}
			}
		}
	})
}
