package safetensors

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"gimbal/internal/strictjson"
	"gimbal/internal/testseed"
)

// random returns a generator whose seed is printed.
var random = testseed.Rand

// file returns a file with this header and so many bytes of data.
func file(header string, data int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), make([]byte, data)...)
}

func parse(b []byte) (*File, error) { return Parse(bytes.NewReader(b), int64(len(b))) }

// The first eleven follow the list of abuses in the attacks folder of the reference implementation and its tests
// (safetensors/src/tensor.rs); the rest are the rules of this reader.
var malformed = []struct {
	name   string
	data   []byte
	tensor string
	rule   string // a part of it
}{
	{"empty", nil, "", "too short"},
	{"seven bytes", make([]byte, 7), "", "too short"},
	{"header longer than the limit", append(binary.LittleEndian.AppendUint64(nil, MaxHeader+1), "{}"...), "",
		"longer than 100000000"},
	{"header length 2^64-1", append(binary.LittleEndian.AppendUint64(nil, math.MaxUint64), "{}"...), "",
		"longer than 100000000"},
	{"header longer than the file", append(binary.LittleEndian.AppendUint64(nil, 3), "{}"...), "", "longer than the file"},
	{"no brace", file(" {}", 0), "", "does not start"},
	{"empty header", file("", 0), "", "does not start"},
	{"array", file("[]", 0), "", "does not start"},
	{"not UTF-8", file("{\"\xff\":1}", 0), "", "invalid UTF-8"},
	{"trailing bytes", file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, 2), "",
		"belongs to none (bytes: 1)"},
	{"data without tensors", file("{}", 1), "", "belongs to none (bytes: 1)"},

	{"unfinished", file(`{"a":`, 0), "a", "the text ends early"},
	{"text after the end", file(`{}x`, 0), "", "more data after the end"},
	{"two objects", file(`{}{}`, 0), "", "more data after the end"},
	{"NUL after the end", file("{}\x00", 0), "", "more data after the end"},
	{"trailing comma", file(`{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},}`, 0), "", "invalid character ','"},
	{"control character", file("{\"a\nb\":1}", 0), "", "control character"},
	{"unfinished string", file(`{"a`, 0), "", "inside a string"},
	{"escape at the end", file(`{"a\`, 0), "", "inside a string"},
	{"bad escape", file(`{"\x":1}`, 0), "", "invalid escape"},
	{"half a surrogate pair", file(`{"\ud800":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}`, 0), "", "surrogate"},
	{"tensor twice", file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],`+
		`"data_offsets":[1,2]}}`, 2), "a", "twice"},
	{"tensor twice, one escaped", file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"\u0061":{"dtype":"U8",`+
		`"shape":[1],"data_offsets":[1,2]}}`, 2), "a", "twice"},
	{"metadata twice", file(`{"__metadata__":{},"__metadata__":{}}`, 0), "", "twice"},
	{"metadata key twice", file(`{"__metadata__":{"a":"1","a":"2"}}`, 0), "", "twice"},
	{"metadata no string", file(`{"__metadata__":{"a":1}}`, 0), "", "a string is expected"},
	{"metadata no object", file(`{"__metadata__":null}`, 0), "", "an object is expected"},
	{"tensor null", file(`{"a":null}`, 0), "a", "an object is expected"},
	{"deep", file(`{"a":`+strings.Repeat("[", 100_000), 0), "a", "an object is expected"},
	{"deep in a shape", file(`{"a":{"shape":`+strings.Repeat("[", 100_000), 0), "a", "plain non-negative"},
	{"long name", file(`{"`+strings.Repeat("a", strictjson.MaxKey+1)+`":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}`,
		0), "", "more than 65536 bytes"},
	{"key twice", file(`{"a":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, 1), "a", "twice"},
	{"key in another case", file(`{"a":{"DType":"U8","shape":[1],"data_offsets":[0,1]}}`, 1), "a", "unknown key"},
	{"unknown key", file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"x":1}}`, 1), "a", "unknown key"},
	{"no dtype", file(`{"a":{"shape":[1],"data_offsets":[0,1]}}`, 1), "a", `"dtype" is missing`},
	{"no shape", file(`{"a":{"dtype":"U8","data_offsets":[0,1]}}`, 1), "a", `"shape" is missing`},
	{"no offsets", file(`{"a":{"dtype":"U8","shape":[1]}}`, 1), "a", `"data_offsets" is missing`},
	{"unknown dtype", file(`{"a":{"dtype":"F31","shape":[1],"data_offsets":[0,4]}}`, 4), "a", "unknown dtype"},
	{"dtype no string", file(`{"a":{"dtype":8,"shape":[1],"data_offsets":[0,4]}}`, 4), "a", "a string is expected"},
	{"negative dimension", file(`{"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}}`, 1), "a", "plain non-negative"},
	{"fraction", file(`{"a":{"dtype":"U8","shape":[1.0],"data_offsets":[0,1]}}`, 1), "a", "plain non-negative"},
	{"exponent", file(`{"a":{"dtype":"U8","shape":[1e0],"data_offsets":[0,1]}}`, 1), "a", "plain non-negative"},
	{"leading zero", file(`{"a":{"dtype":"U8","shape":[01],"data_offsets":[0,1]}}`, 1), "a", "invalid character '1'"},
	{"number too large", file(`{"a":{"dtype":"U8","shape":[9223372036854775808],"data_offsets":[0,1]}}`, 1), "a",
		"too large"},
	{"nine dimensions", file(`{"a":{"dtype":"U8","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,1]}}`, 1), "a",
		"more than 8 dimensions"},
	{"shape too small", file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,8]}}`, 8), "a", "needs 4 bytes"},
	{"shape too large", file(`{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}`, 8), "a", "needs 12 bytes"},
	{"scalar with two", file(`{"a":{"dtype":"F32","shape":[],"data_offsets":[0,8]}}`, 8), "a", "needs 4 bytes"},
	{"product overflows to 0", file(`{"a":{"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0]}}`, 0), "a",
		"overflows"},
	{"bytes overflow", file(`{"a":{"dtype":"F64","shape":[4611686018427387904],"data_offsets":[0,0]}}`, 0), "a",
		"overflows"},
	{"overflow before zero", file(`{"a":{"dtype":"U8","shape":[4294967296,4294967296,0],"data_offsets":[0,0]}}`, 0), "a",
		"overflows"},
	{"offsets backwards", file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[1,0]}}`, 1), "a", "backwards"},
	{"behind the file", file(`{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}`, 1), "a", "behind the file"},
	{"far behind the file", file(`{"a":{"dtype":"U8","shape":[9223372036854775807],"data_offsets":[0,`+
		`9223372036854775807]}}`, 1), "a", "behind the file"},
	{"one offset", file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0]}}`, 1), "a", "1 instead of two"},
	{"three offsets", file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1,2]}}`, 1), "a", "3 instead of two numbers"},
	{"hole at the start", file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}`, 2), "a", "hole after byte 0"},
	{"hole", file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[1],`+
		`"data_offsets":[2,3]}}`, 3), "b", "hole after byte 1"},
	{"overlap", file(`{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],`+
		`"data_offsets":[1,3]}}`, 3), "b", "overlap"},
	{"same bytes twice", file(`{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],`+
		`"data_offsets":[0,2]}}`, 2), "b", "overlap"},
}

func TestMalformed(t *testing.T) {
	for _, c := range malformed {
		_, err := parse(c.data)
		var e *Error
		if !errors.As(err, &e) || !errors.Is(err, ErrFormat) {
			t.Errorf("%s: error %v", c.name, err)
		} else if e.Tensor != c.tensor || !strings.Contains(e.Rule, c.rule) {
			t.Errorf("%s: tensor %q, %s; want tensor %q, %s", c.name, e.Tensor, e.Rule, c.tensor, c.rule)
		}
	}
	var many strings.Builder
	many.WriteByte('{')
	for i := range MaxTensors + 1 {
		fmt.Fprintf(&many, `%s"%d":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}`, strings.Repeat(",", min(i, 1)), i)
	}
	many.WriteByte('}')
	if _, err := parse(file(many.String(), 0)); !errors.Is(err, ErrFormat) ||
		!strings.Contains(err.Error(), "more than 65536 tensors") {
		t.Errorf("too many tensors: %v", err)
	}
}

// TestAccepted has what looks odd and is allowed.
func TestAccepted(t *testing.T) {
	for name, data := range map[string][]byte{
		"nothing":     file("{}", 0),
		"padded":      file("{}      ", 0),
		"white space": file("{ \"a\" :\n{\t\"shape\":[ 1 , 2 ],\r\"data_offsets\":[0,2],\"dtype\":\"I8\"} } ", 2),
		"scalar":      file(`{"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}`, 4),
		"empty tensors": file(`{"b":{"dtype":"F32","shape":[0,7],"data_offsets":[4,4]},"a":{"dtype":"F32","shape":[1],`+
			`"data_offsets":[0,4]},"c":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}`, 4),
		"empty name": file(`{"":{"dtype":"BOOL","shape":[1],"data_offsets":[0,1]}}`, 1),
		"escapes":    file(`{"\u00e9\ud83d\ude00\"\\\ufffd":{"dtype":"C64","shape":[1],"data_offsets":[0,8]}}`, 8),
		"case variants": file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"A":{"dtype":"U8","shape":[1],`+
			`"data_offsets":[1,2]}}`, 2),
		"order of offsets": file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]},"b":{"dtype":"U8","shape":[1],`+
			`"data_offsets":[0,1]}}`, 2),
	} {
		f, err := parse(data)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, want := range f.Tensors() {
			if got, ok := f.Lookup(want.Name); !ok || !reflect.DeepEqual(got, want) {
				t.Errorf("%s: Lookup(%q) = %v, %v", name, want.Name, got, ok)
			}
		}
		if _, ok := f.Lookup("absent"); ok {
			t.Errorf("%s: finds what is absent", name)
		}
	}
}

func entries(rnd *rand.Rand) []Entry {
	list := make([]Entry, rnd.IntN(6))
	for i := range list {
		e := Entry{Name: fmt.Sprintf("t%d\"é<\x01", i), Shape: make([]int, rnd.IntN(4))}
		n := 1
		for j := range e.Shape {
			e.Shape[j] = rnd.IntN(40)
			n *= e.Shape[j]
		}
		e.Data = make([]float32, n)
		for j := range e.Data {
			e.Data[j] = math.Float32frombits(rnd.Uint32()) // NaN of any payload and infinities among them
		}
		list[i] = e
	}
	return list
}

func TestRoundTrip(t *testing.T) {
	rnd := random(t)
	for range 200 {
		want, metadata := entries(rnd), map[string]string{"format": "pt", "note": "\"é\x00"}
		var out, again bytes.Buffer
		if err := errors.Join(Write(&out, want, metadata, "F32"), Write(&again, want, metadata, "F32")); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(out.Bytes(), again.Bytes()) {
			t.Fatal("two writes differ")
		}
		f, err := parse(out.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		var header struct {
			Metadata map[string]string `json:"__metadata__"`
		}
		err = json.Unmarshal(out.Bytes()[8:8+binary.LittleEndian.Uint64(out.Bytes())], &header)
		if err != nil || !reflect.DeepEqual(header.Metadata, metadata) || len(f.Tensors()) != len(want) {
			t.Fatalf("metadata %v, %d tensors, %v", header.Metadata, len(f.Tensors()), err)
		}
		for i, e := range want {
			got := make([]float32, len(e.Data))
			if err := f.ReadF32(got, e.Name); err != nil {
				t.Fatal(err)
			}
			for j := range got {
				if a, b := math.Float32bits(got[j]), math.Float32bits(e.Data[j]); a != b {
					t.Fatalf("element %d of %q: %x, want %x", j, e.Name, a, b)
				}
			}
			if i == 0 && f.Tensors()[0].Begin%64 != 0 {
				t.Fatalf("data begins at %d", f.Tensors()[0].Begin)
			}
		}
	}
}

// TestGolden pins the bytes: the format is shared with others.
func TestGolden(t *testing.T) {
	var out bytes.Buffer
	err := Write(&out, []Entry{{"b", []int{1, 2}, []float32{1, -2}}, {"a", nil, []float32{0.5}}},
		map[string]string{"format": "pt"}, "F32")
	if err != nil {
		t.Fatal(err)
	}
	header := `{"__metadata__":{"format":"pt"},"b":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},` +
		`"a":{"dtype":"F32","shape":[],"data_offsets":[8,12]}}`
	header += strings.Repeat(" ", 184-len(header))
	want := "\xb8\x00\x00\x00\x00\x00\x00\x00" + header + "\x00\x00\x80\x3f\x00\x00\x00\xc0\x00\x00\x00\x3f"
	if out.String() != want {
		t.Errorf("got %q\nwant %q", out.String(), want)
	}
	if !json.Valid([]byte(header)) {
		t.Error("the header is not JSON")
	}
}

func TestConversions(t *testing.T) {
	data := []byte{
		0x00, 0x3c, 0x00, 0xc0, 0x01, 0x00, 0xff, 0x7b, 0x00, 0x7c, 0x01, 0x7e, 0x00, 0x80, 0xff, 0x03, // F16
		0x80, 0x3f, 0x49, 0xc0, 0x01, 0x00, 0x80, 0xff, // BF16
		0x9a, 0x99, 0x99, 0x99, 0x99, 0x99, 0xb9, 0x3f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xef, 0x7f, // F64: 0.1, largest
		7, 0, 0, 0, // I32
	}
	b := file(`{"h":{"dtype":"F16","shape":[8],"data_offsets":[0,16]},"b":{"dtype":"BF16","shape":[2,2],`+
		`"data_offsets":[16,24]},`+
		`"d":{"dtype":"F64","shape":[2],"data_offsets":[24,40]},"i":{"dtype":"I32","shape":[1],"data_offsets":[40,44]}}`, 0)
	f, err := parse(append(b, data...))
	if err != nil {
		t.Fatal(err)
	}
	inf, nan := math.Inf(1), math.NaN()
	for _, c := range []struct {
		name string
		want []float64
	}{
		{"h", []float64{1, -2, 0x1p-24, 65504, inf, nan, math.Copysign(0, -1), 0x3ffp-24}},
		{"b", []float64{1, -3.140625, 0x1p-133, -inf}},
		{"d", []float64{float64(float32(0.1)), inf}},
	} {
		got := make([]float32, len(c.want))
		if err := f.ReadF32(got, c.name); err != nil {
			t.Fatal(err)
		}
		for i, want := range c.want {
			x := float64(got[i])
			if !(x == want && math.Signbit(x) == math.Signbit(want)) && (x == x || want == want) {
				t.Errorf("%s[%d] = %g, want %g", c.name, i, x, want)
			}
		}
	}
	for what, err := range map[string]error{
		"integers": f.ReadF32(make([]float32, 1), "i"), "missing": f.ReadF32(nil, "none"),
		"wrong length": f.ReadF32(make([]float32, 3), "b"),
	} {
		if !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestHalf checks all F16 numbers against arithmetic on their parts.
func TestHalf(t *testing.T) {
	for h := range 1 << 16 {
		exp, frac := h>>10&31, float64(h&0x3ff)
		want := math.Ldexp(1024+frac, exp-25)
		if exp == 0 {
			want = math.Ldexp(frac, -24)
		} else if exp == 31 {
			want = math.Inf(1)
			if frac != 0 {
				want = math.NaN()
			}
		}
		if h>>15 == 1 {
			want = -want
		}
		if got := float64(half(uint16(h))); got != want && (got == got || want == want) {
			t.Fatalf("%04x is %g, want %g", h, got, want)
		}
	}
}

func TestWriteRefuses(t *testing.T) {
	for what, list := range map[string][]Entry{
		"reserved": {{"__metadata__", nil, []float32{1}}},
		"UTF-8":    {{"\xff", nil, []float32{1}}},
		"long":     {{strings.Repeat("a", strictjson.MaxKey+1), nil, []float32{1}}},
		"twice":    {{"a", nil, []float32{1}}, {"a", nil, []float32{1}}},
		"length":   {{"a", []int{2}, []float32{1}}},
		"negative": {{"a", []int{-1, -1}, []float32{1}}},
		"overflow": {{"a", []int{math.MaxInt, 4}, []float32{1}}},
		"rank":     {{"a", make([]int, 9), nil}},
	} {
		var out bytes.Buffer
		if err := Write(&out, list, nil, "F32"); !errors.Is(err, ErrFormat) || out.Len() > 0 {
			t.Errorf("%s: %v, %d bytes written", what, err, out.Len())
		}
	}
	if err := Write(&bytes.Buffer{}, nil, map[string]string{"a": "\xff"}, "F32"); !errors.Is(err, ErrFormat) {
		t.Errorf("metadata: %v", err)
	}
	boom := errors.New("boom")
	if err := Write(failing{boom}, entries(random(t)), nil, "F32"); !errors.Is(err, boom) {
		t.Errorf("writer: %v", err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error)         { return 0, f.err }
func (f failing) ReadAt([]byte, int64) (int, error) { return 0, f.err }

func TestReadErrors(t *testing.T) {
	boom := errors.New("boom")
	if _, err := Parse(failing{boom}, 100); !errors.Is(err, boom) || errors.Is(err, ErrFormat) {
		t.Errorf("reader: %v", err)
	}
	b := file(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`, 8)
	for _, short := range []int{4, 20, len(b) - 1} { // the file was truncated after its size was taken
		f, err := Parse(bytes.NewReader(b[:short]), int64(len(b)))
		if err == nil {
			err = f.ReadF32(make([]float32, 2), "a")
		}
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("truncated to %d: %v", short, err)
		}
	}
}

// allocated returns the bytes that fn allocates.
func allocated(fn func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	fn()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestAllocation holds Parse to its bound on the headers that cost most.
func TestAllocation(t *testing.T) {
	var tensors, dims, meta strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&tensors, `,"%d":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}`, i)
		fmt.Fprintf(&dims, `,"%d":{"dtype":"U8","shape":[0,0,0,0,0,0,0,0],"data_offsets":[0,0]}`, i)
		fmt.Fprintf(&meta, `,"%d":""`, i)
	}
	for what, header := range map[string]string{
		"tensors":   "{" + tensors.String()[1:] + "}",
		"dims":      "{" + dims.String()[1:] + "}",
		"metadata":  `{"__metadata__":{` + meta.String()[1:] + "}}",
		"deep":      `{"a":` + strings.Repeat("[", 1<<20),
		"long name": `{"` + strings.Repeat("a", 1<<20) + `":`,
	} {
		b := file(header, 0)
		if got := allocated(func() { _, _ = parse(b) }); got > uint64(len(b))+1<<20 {
			t.Errorf("%s: %d bytes allocated for a file of %d", what, got, len(b))
		}
	}
	lie := binary.LittleEndian.AppendUint64(nil, MaxHeader)
	if got := allocated(func() { _, _ = parse(lie) }); got > 1<<20 {
		t.Errorf("lie: %d bytes allocated", got)
	}
}

// FuzzParse: no panic, no large allocation, and what is accepted obeys the rules, checked in another way.
func FuzzParse(f *testing.F) {
	for _, c := range malformed {
		if len(c.data) < 1<<12 {
			f.Add(c.data)
		}
	}
	var out bytes.Buffer
	if err := Write(&out, []Entry{{"a", []int{2, 3}, make([]float32, 6)}, {"b", nil, []float32{1}}},
		map[string]string{"format": "pt"}, "F32"); err != nil {
		f.Fatal(err)
	}
	f.Add(out.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1<<16 {
			return
		}
		var file *File
		var err error
		if got := allocated(func() { file, err = parse(b) }); got > uint64(len(b))+1<<20 {
			t.Fatalf("%d bytes allocated for %d", got, len(b))
		}
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Fatalf("not a format error: %v", err)
			}
			return
		}
		n := binary.LittleEndian.Uint64(b)
		var header map[string]json.RawMessage
		if err := json.Unmarshal(b[8:8+n], &header); err != nil {
			t.Fatalf("accepted what is not JSON: %v", err)
		}
		delete(header, "__metadata__")
		if len(header) != len(file.Tensors()) {
			t.Fatalf("%d names, %d tensors", len(header), len(file.Tensors()))
		}
		owned := make([]int, len(b))
		for _, tensor := range file.Tensors() {
			var info struct {
				DType   string   `json:"dtype"`
				Shape   []int    `json:"shape"`
				Offsets [2]int64 `json:"data_offsets"`
			}
			if err := json.Unmarshal(header[tensor.Name], &info); err != nil {
				t.Fatal(err)
			}
			if info.DType != tensor.DType || len(info.Shape) != len(tensor.Shape) ||
				info.Offsets != [2]int64{tensor.Begin - 8 - int64(n), tensor.End - 8 - int64(n)} {
				t.Fatalf("%+v was read as %+v", info, tensor)
			}
			for i := tensor.Begin; i < tensor.End; i++ {
				owned[i]++
			}
			if tensor.DType[0] == 'F' || tensor.DType == "BF16" {
				dst := make([]float32, tensor.Len())
				if err := file.ReadF32(dst, tensor.Name); err != nil && !strings.Contains(err.Error(), "are read") {
					t.Fatal(err)
				}
			}
		}
		for i, count := range owned {
			if want := i >= 8+int(n); (count == 1) != want || count > 1 {
				t.Fatalf("byte %d belongs to %d tensors", i, count)
			}
		}
	})
}

// TestWriteBF16: rounded to nearest even, as the hardware and PyTorch do.
func TestWriteBF16(t *testing.T) {
	inf := float32(math.Inf(1))
	in := []float32{0, float32(math.Copysign(0, -1)), 1, -1.5, 1 + 1.0/256, 1 + 3.0/256, 1 + 1.0/256 + 1.0/65536,
		3.3895314e38, math.MaxFloat32, inf, -inf, math.SmallestNonzeroFloat32, float32(math.NaN())}
	want := []float32{0, float32(math.Copysign(0, -1)), 1, -1.5, 1, 1 + 4.0/256, 1 + 2.0/256, 3.3895314e38, inf, inf, -inf,
		0, float32(math.NaN())}
	long := make([]float32, chunk) // more than one buffer
	for i := range long {
		long[i] = float32(i)
	}
	var b bytes.Buffer
	if err := Write(&b, []Entry{{"a", []int{len(in)}, in}, {"b", []int{2, len(long) / 2}, long}}, nil,
		"BF16"); err != nil {
		t.Fatal(err)
	}
	f, err := parse(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if a, _ := f.Lookup("a"); a.DType != "BF16" {
		t.Errorf("dtype %s", a.DType)
	}
	got := make([]float32, len(in))
	if err := f.ReadF32(got, "a"); err != nil {
		t.Fatal(err)
	}
	for i := range in {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) && (got[i] == got[i] || want[i] == want[i]) {
			t.Errorf("%v became %v, want %v", in[i], got[i], want[i])
		}
	}
	back := make([]float32, len(long))
	if err := f.ReadF32(back, "b"); err != nil {
		t.Fatal(err)
	}
	for i, x := range back {
		if d := math.Abs(float64(x) - float64(i)); d > float64(i)/256 {
			t.Fatalf("%d became %v", i, x)
		}
	}
}
