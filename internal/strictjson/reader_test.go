package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"unicode/utf8"
)

// walk reads a value of any kind by the methods of r, as encoding/json would, and compares what Value and At say.
func walk(t testing.TB, r *Reader) any {
	switch r.Kind() {
	case '{':
		object := map[string]any{}
		r.Object(func(key []byte) {
			name := string(key)
			if r.data[r.KeyAt()] != '"' {
				t.Fatalf("the key %q begins at %d", name, r.KeyAt())
			}
			object[name] = walk(t, r)
		})
		return object
	case '[':
		array := []any{}
		r.Array(func(i int) {
			if i != len(array) {
				t.Fatalf("element %d is given as %d", len(array), i)
			}
			array = append(array, walk(t, r))
		})
		return array
	case '"':
		return r.Text()
	}
	at := r.At()
	value := r.Value()
	if r.Failed() {
		return nil
	}
	if !bytes.HasPrefix(r.data[at:], value) {
		t.Fatalf("%q does not begin at %d", value, at)
	}
	v, err := unmarshal(value)
	if err != nil {
		t.Fatalf("%q is no value: %v", value, err)
	}
	return v
}

// unmarshal keeps numbers as they are written.
func unmarshal(data []byte) (v any, err error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	err = dec.Decode(&v)
	return v, err
}

func TestRefused(t *testing.T) {
	nested := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for _, c := range []struct {
		text string
		byte int64
		want string
		less []Option
	}{
		{"", 0, "the text ends early", nil},
		{" ", 1, "the text ends early", nil},
		{`{"a":`, 5, "the text ends early", nil},
		{`{"a`, 3, "the text ends inside a string", nil},
		{`{"a":["b\`, 8, "the text ends inside a string", nil},
		{`{} {}`, 3, "more data after the end", nil},
		{`{},`, 2, "more data after the end", nil},
		{"1\x00", 1, "more data after the end", nil},
		{`nul`, 3, "the text ends early", nil},
		{`{"a":1,"b":2,"a":3}`, 13, "a comes twice", nil},
		{`{"a":1,"\u0061":3}`, 7, "a comes twice", nil},
		{`{"x":[{"a":{},"a":{}}]}`, 14, "x/0/a comes twice", nil},
		{"{\"a\":\"\xff\"}", 6, "invalid UTF-8", nil},
		{"{\"\xff\":1}", 2, "invalid UTF-8", nil},
		{`"\ud800x"`, 1, "invalid", nil},
		{`"\ud800x"`, 1, "invalid", []Option{AllowDuplicates}},
		{`{"a":1,"a":2}`, 7, "a comes twice", []Option{AllowInvalidUTF8}},
		{"\xff", 0, "invalid character", []Option{AllowInvalidUTF8}},
		{"\"a\x1fb\"", 2, "control character", nil},
		{`[1,]`, 2, "invalid character ','", nil},
		{`[01]`, 2, "invalid character '1'", nil},
		{`{1:2}`, 1, "name", nil},
		{`{"a":1]`, 6, "invalid character ']'", nil},
		{`[1}`, 2, "invalid character '}'", nil},
		{`NaN`, 0, "invalid character 'N'", nil},
		{`// no`, 0, "invalid character '/'", nil},
		{nested(MaxDepth + 1), MaxDepth, "nested deeper than 1000", nil},
		{strings.Repeat(`{"a":`, MaxDepth+1), 5 * MaxDepth, "nested deeper than 1000", nil},
		{`{"` + strings.Repeat("k", MaxKey+1) + `":1}`, 1, "a key of more than 65536 bytes", nil},
	} {
		for how, read := range map[string]func(*Reader){
			"walk":  func(r *Reader) { walk(t, r) },
			"value": func(r *Reader) { r.Value() },
		} {
			if how == "value" && strings.Contains(c.want, "a key of more") {
				continue // only keys that are walked over are bounded
			}
			r := New([]byte(c.text), c.less...)
			read(r)
			fault := new(Error)
			if err := r.End(); !errors.As(err, &fault) || fault.Byte != c.byte || !strings.Contains(fault.What, c.want) {
				t.Errorf("%s of %.40q: %v, want %q at byte %d", how, c.text, err, c.want, c.byte)
			}
			if r.Kind() != '!' || r.Value() != nil || r.Text() != "" || r.Size(9) != 0 {
				t.Errorf("%s of %.40q: goes on after a fault", how, c.text)
			}
		}
	}
	r := New([]byte(nested(MaxDepth)))
	if r.Value(); r.End() != nil {
		t.Errorf("%d arrays inside each other: %v", MaxDepth, r.End())
	}
}

// TestLessStrict: what an option lets through is as it is written.
func TestLessStrict(t *testing.T) {
	r := New([]byte("{\"a\":\"\xff\",\"a\":\"\\ud800\"}"), AllowDuplicates, AllowInvalidUTF8)
	var got []string
	r.Object(func(key []byte) { got = append(got, string(key), string(r.Value())) })
	if want := []string{"a", "\"\xff\"", "a", `"\ud800"`}; r.End() != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%q, %v", got, r.End())
	}
	if r.Reset([]byte(`{"a":1,"a":2}`)); r.Value() != nil || r.End() == nil {
		t.Error("an option outlives Reset")
	}
}

func TestExpected(t *testing.T) {
	for _, c := range []struct {
		text string
		read func(*Reader)
		want string
	}{
		{`[1]`, func(r *Reader) { r.Object(func([]byte) {}) }, "an object is expected, at byte 0"},
		{`"a"`, func(r *Reader) { r.Array(func(int) {}) }, "an array is expected, at byte 0"},
		{` 1`, func(r *Reader) { r.Text() }, "a string is expected, at byte 1"},
		{`"1"`, func(r *Reader) { r.Size(9) }, "a plain non-negative integer is expected, at byte 0"},
		{`-1`, func(r *Reader) { r.Size(9) }, "a plain non-negative integer is expected, at byte 0"},
		{`-0`, func(r *Reader) { r.Size(9) }, "a plain non-negative integer is expected, at byte 0"},
		{`1.0`, func(r *Reader) { r.Size(9) }, "a plain non-negative integer is expected, at byte 0"},
		{`1e0`, func(r *Reader) { r.Size(9) }, "a plain non-negative integer is expected, at byte 0"},
		{`10`, func(r *Reader) { r.Size(9) }, "a number is too large, at byte 0"},
		{`9223372036854775808`, func(r *Reader) { r.Size(math.MaxInt64) }, "a number is too large, at byte 0"},
		{`9223372036854775807`, func(r *Reader) { r.Size(math.MaxInt64) }, ""},
		{`{"a":{"b":[0,"c"]}}`, func(r *Reader) {
			r.Object(func([]byte) { r.Object(func([]byte) { r.Array(func(int) { r.Size(9) }) }) })
		}, "a plain non-negative integer is expected, at byte 13"},
	} {
		r := New([]byte(c.text))
		c.read(r)
		if err := r.End(); (err == nil) != (c.want == "") || err != nil && err.Error() != c.want {
			t.Errorf("%s: %v, want %q", c.text, err, c.want)
		}
	}
	ours := errors.New("ours")
	r := New([]byte(`[1,2]`))
	calls := 0
	r.Array(func(int) { calls++; r.Fail(ours); r.Failf(0, "later") })
	if calls != 1 || r.End() != ours {
		t.Errorf("%d calls, %v", calls, r.End())
	}
}

// TestMisuse: a callback that does not read would be called for ever.
func TestMisuse(t *testing.T) {
	for text, read := range map[string]func(*Reader){
		`[1]`:     func(r *Reader) { r.Array(func(int) {}) },
		`{"a":1}`: func(r *Reader) { r.Object(func([]byte) {}) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", text)
				}
			}()
			read(New([]byte(text)))
		}()
	}
}

// reference reports whether encoding/json takes a text and finds no key twice, and what it reads.
func reference(data []byte) (v any, ok bool) {
	if !json.Valid(data) || !utf8.Valid(data) {
		return nil, false
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var seen []map[string]bool // by depth; nil for an array
	key := false               // a key is next
	for {
		tok, err := dec.Token()
		if err != nil {
			v, err := unmarshal(data)
			return v, err == nil
		}
		switch tok := tok.(type) {
		case json.Delim:
			switch tok {
			case '{':
				seen = append(seen, map[string]bool{})
			case '[':
				seen = append(seen, nil)
			default:
				seen = seen[:len(seen)-1]
			}
			if len(seen) > MaxDepth {
				return nil, false
			}
			key = len(seen) > 0 && seen[len(seen)-1] != nil
			continue
		case string:
			if key {
				if seen[len(seen)-1][tok] {
					return nil, false
				}
				seen[len(seen)-1][tok] = true
				key = false
				continue
			}
		}
		key = len(seen) > 0 && seen[len(seen)-1] != nil
	}
}

// FuzzReader compares with encoding/json and a set of keys, which see neither half a surrogate pair nor a long key.
func FuzzReader(f *testing.F) {
	for _, s := range []string{`{"a":[1,-2.5e3,true,false,null,{"b":"\n\u00e9\ud83d\ude00"}],"c":{}}`, `{"a":1,"a":2}`,
		`"\ud800"`, "\"\xff\"",
		`[[[]]]`, `{"a":{"b":1},"b":1}`, `[1,]`, `{"a" : 1 , "b" : [ ] } x`, ``, `01`, `{"":""}`, `"\/"`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<16 {
			return
		}
		before := bytes.Clone(data)
		var r *Reader
		var got any
		var a, b runtime.MemStats
		runtime.ReadMemStats(&a)
		r = New(data)
		r.Value()
		err := r.End()
		runtime.ReadMemStats(&b)
		if n := b.TotalAlloc - a.TotalAlloc; n > uint64(50*len(data)+1<<20) {
			t.Fatalf("%d bytes allocated for %d", n, len(data))
		}
		r = New(data)
		got = walk(t, r)
		if werr := r.End(); (werr == nil) != (err == nil) || werr != nil && werr.Error() != err.Error() {
			t.Fatalf("walk: %v, value: %v", werr, err)
		}
		if !bytes.Equal(before, data) {
			t.Fatal("the data was changed")
		}
		want, ok := reference(data)
		if err == nil && (!ok || !reflect.DeepEqual(got, want)) {
			t.Fatalf("%q was read as %v, by encoding/json %v, %v", data, got, want, ok)
		}
		if err != nil {
			if fault := err.(*Error); fault.Byte < 0 || fault.Byte > int64(len(data)) {
				t.Fatalf("fault at byte %d of %d", fault.Byte, len(data))
			}
			if ok && !strings.Contains(strings.ToLower(string(data)), `\ud`) {
				t.Fatalf("%q: %v, which encoding/json takes", data, err)
			}
		}
	})
}
