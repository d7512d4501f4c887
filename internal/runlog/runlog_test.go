package runlog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"gimbal/internal/durable"
	"gimbal/internal/durable/crash"
	"gimbal/internal/testseed"
)

// random returns a generator whose seed is printed.
var random = testseed.Rand

var (
	inf, nan = Float(math.Inf(1)), Float(math.NaN())
	at       = At{Step: 7, Batch: 8, Attempt: 2, Time: time.Date(2026, 11, 23, 12, 0, 0, 5e8, time.UTC)}
)

// golden has a record of each kind and its line: the schema is pinned here.
var golden = []struct {
	record any
	line   string
}{
	{
		Step{At: at, Tokens: 5600, Loss: 3.25, GradNorm: 1.5, LR: 2.2e-4, ClipScale: Float(1 / 1.5), TokensPerSecond: 1e6,
			MemoryBytes: 1 << 30},
		`{"kind":"step","step":7,"batch":8,"attempt":2,"time":"2026-11-23T12:00:00.5Z","tokens":5600,"loss":3.25,` +
			`"grad_norm":1.5,"lr":0.00022,"clip_scale":0.6666666666666666,"tokens_per_second":1e+06,` +
			`"memory_bytes":1073741824}`,
	},
	{
		Step{At: At{Step: 1, Batch: 1, Attempt: 1}, Loss: nan, GradNorm: inf, LR: -inf},
		`{"kind":"step","step":1,"batch":1,"attempt":1,"tokens":0,"loss":"NaN","grad_norm":"+Inf","lr":"-Inf",` +
			`"clip_scale":0,"tokens_per_second":0,"memory_bytes":0}`,
	},
	{
		Layers{At: at, Layers: []Layer{{Block: -1, Tensor: "embed", GradMean: 1e-9, GradRMS: 2e-9, GradMax: 3e-9,
			WeightRMS: 0.02, UpdateRMS: 1e-5}, {Block: 0, Tensor: "attn", NonFinite: 3}},
			UpdateRatio: 0.01, Unread: 3, Activations: Activations{Tokens: 256, EmbedRMS: 0.02, LogZ: 5, LogitMax: 6,
				Blocks: []ActivationsBlock{{StreamRMS: 0.5, Kept: 1, Peak: 7, Dead: 0.25, ScoreMax: 8, Entropy: []Float{0.5}}}}},
		`{"kind":"layers","step":7,"batch":8,"attempt":2,"time":"2026-11-23T12:00:00.5Z","layers":[{"block":-1,` +
			`"tensor":"embed","grad_mean":1e-09,"grad_rms":2e-09,"grad_max":3e-09,"weight_rms":0.02,"update_rms":1e-05},` +
			`{"block":0,"tensor":"attn","grad_mean":0,"grad_rms":0,"grad_max":0,"weight_rms":0,"update_rms":0,` +
			`"non_finite":3}],"update_ratio":0.01,"activations":{"tokens":256,"embed_rms":0.02,"log_z":5,"logit_max":6,` +
			`"blocks":[{"stream_rms":0.5,"kept":1,"peak":7,"dead":0.25,"score_max":8,"entropy":[0.5]}]},"unread":3}`,
	},
	{
		Event{
			At: at, Code: "E0-NONFINITE", Severity: "error", Action: "stop", Injected: true, Message: "loss is NaN",
			Tensor: "model.norm.weight", Documents: []string{"a.txt:0"}, Numbers: map[string]Float{"loss": nan, "grad_norm": 2},
		},
		`{"kind":"event","step":7,"batch":8,"attempt":2,"time":"2026-11-23T12:00:00.5Z","code":"E0-NONFINITE",` +
			`"severity":"error","action":"stop","injected":true,"message":"loss is NaN","tensor":"model.norm.weight",` +
			`"documents":["a.txt:0"],"numbers":{"grad_norm":2,"loss":"NaN"}}`,
	},
	{
		Eval{At: at, ValLoss: 2.5, BitsPerByte: 1.25, BaselineLoss: 2.75, Metrics: map[string]Float{"rep3": 0.25,
			"rep3_lo": 0.125, "rep3_hi": nan}},
		`{"kind":"eval","step":7,"batch":8,"attempt":2,"time":"2026-11-23T12:00:00.5Z","val_loss":2.5,` +
			`"bits_per_byte":1.25,"baseline_loss":2.75,"rep3":0.25,"rep3_hi":"NaN","rep3_lo":0.125}`,
	},
	{
		Start{At: At{Attempt: 1}, Process: Process{ConfigHash: "abc", Reason: "train", Version: "v0", Tier: "avx512",
			Mode: "fp32", Workers: 2}},
		`{"kind":"start","step":0,"batch":0,"attempt":1,"config_hash":"abc","reason":"train","version":"v0",` +
			`"tier":"avx512","mode":"fp32","workers":2}`,
	},
	{
		Resume{At: at, Process: Process{ConfigHash: "abc", Reason: "resume"}, Checkpoint: "checkpoints/step-7",
			Refused: []string{"step-9: torn"}},
		`{"kind":"resume","step":7,"batch":8,"attempt":2,"time":"2026-11-23T12:00:00.5Z","config_hash":"abc",` +
			`"reason":"resume","checkpoint":"checkpoints/step-7","refused":["step-9: torn"]}`,
	},
	{
		End{At: at, Process: Process{ConfigHash: "abc", Reason: "done"}, ExitCode: 75},
		`{"kind":"end","step":7,"batch":8,"attempt":2,"time":"2026-11-23T12:00:00.5Z","config_hash":"abc",` +
			`"reason":"done","exit_code":75}`,
	},
	{
		Plan{At: At{Attempt: 1}, Steps: 2000, Parameters: 1e6, TrainTokens: 5, ValTokens: 6, MemoryBytes: 7,
			BaselineLoss: 1.5, UnigramLoss: 3, Guard: json.RawMessage(`{"act":true,"clip":1}`)},
		`{"kind":"plan","step":0,"batch":0,"attempt":1,"steps":2000,"parameters":1000000,"train_tokens":5,"val_tokens":6,` +
			`"memory_bytes":7,"baseline_loss":1.5,"unigram_loss":3,"guard":{"act":true,"clip":1}}`,
	},
	{
		Probe{At: At{Attempt: 1}, LR: 0.5, Argmin: 1, Best: 2.5, Planned: 2, Diverged: true, Message: "half",
			Rates: []Float{0.5, 1}, Losses: []Float{4, nan}, Smoothed: []Float{4, 2.5}, Seconds: 3},
		`{"kind":"probe","step":0,"batch":0,"attempt":1,"lr":0.5,"argmin":1,"best":2.5,"planned":2,"diverged":true,` +
			`"message":"half","rates":[0.5,1],"losses":[4,"NaN"],"smoothed":[4,2.5],"seconds":3}`,
	},
	{
		Preflight{At: at, Checks: []Check{{Code: "P-EOS", Result: "warning", Message: "none", Advice: "add",
			Numbers: map[string]Float{"eos": 0}}, {Code: "P-LEAK", Result: "ok", Message: "none"}}, Seconds: 1},
		`{"kind":"preflight","step":7,"batch":8,"attempt":2,"time":"2026-11-23T12:00:00.5Z","checks":[{"code":"P-EOS",` +
			`"result":"warning","message":"none","advice":"add","numbers":{"eos":0}},{"code":"P-LEAK","result":"ok",` +
			`"message":"none"}],"seconds":1}`,
	},
}

var sums = regexp.MustCompile(`,"sum":"[0-9a-f]{8}"}\n`)

func TestGolden(t *testing.T) {
	fsys := crash.New()
	w, err := OpenWriter(fsys, "log.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	for _, g := range golden {
		if err := w.Write(g.record); err != nil {
			t.Fatal(err)
		}
		want.WriteString(g.line + "\n")
	}
	if err := errors.Join(w.Sync(), w.Close()); err != nil {
		t.Fatal(err)
	}
	got, err := durable.ReadFile(fsys, "log.jsonl", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if bare := sums.ReplaceAll(got, []byte("}\n")); string(bare) != want.String() {
		t.Errorf("got\n%s\nwant\n%s", got, want.String())
	}
	if last := `,"sum":"a7794abd"}` + "\n"; !strings.HasSuffix(string(got), last) { // CRC-32C of all before it
		t.Errorf("the last line does not end with %s", last)
	}
	l, err := Read(fsys, "log.jsonl")
	if err != nil || len(l.Records) != len(golden) || l.Garbled != 0 || l.Torn {
		t.Fatalf("%d records, %d garbled, torn %v, %v", len(l.Records), l.Garbled, l.Torn, err)
	}
	for i, r := range l.Records {
		// Printed, since NaN differs from itself.
		if want := fmt.Sprintf("%#v", withKind(golden[i].record)); fmt.Sprintf("%#v", r.Value) != want || r.Line != i+1 ||
			string(sums.ReplaceAll(append(r.Raw, '\n'), []byte("}"))) != golden[i].line {
			t.Errorf("line %d is read as %#v, want %s", r.Line, r.Value, want)
		}
	}
	if steps, evals := All[Step](l), All[Eval](l); len(steps) != 2 || len(evals) != 1 || steps[0].Loss != 3.25 ||
		len(evals[0].Metrics) != 3 {
		t.Errorf("%d steps, %d evals", len(steps), len(evals))
	}
	writes := 0
	for _, line := range fsys.Trace() {
		if strings.HasPrefix(line, "sync ") {
			writes++
		}
	}
	if writes != 1 {
		t.Errorf("%d syncs, want the one asked for", writes)
	}
}

func TestFloat(t *testing.T) {
	rnd := random(t)
	for i := range 10_000 {
		v := Float(math.Float64frombits(rnd.Uint64()))
		if i%2 == 0 {
			v = Float(math.Float32frombits(rnd.Uint32()))
		}
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		var back Float
		if err := json.Unmarshal(data, &back); err != nil ||
			math.Float64bits(float64(back)) != math.Float64bits(float64(v)) && v == v {
			t.Fatalf("%x is written as %s and read as %x, %v", math.Float64bits(float64(v)), data,
				math.Float64bits(float64(back)), err)
		}
	}
	for _, bad := range []string{`"nan"`, `"1"`, `null`, `true`, `[1]`, `1e999`} {
		var v Float
		if err := json.Unmarshal([]byte(bad), &v); err == nil {
			t.Errorf("%s is read as %g", bad, v)
		}
	}
}

func TestReadTolerates(t *testing.T) {
	good := golden[0].line
	for _, c := range []struct {
		name, text       string
		records, garbled int
		torn             bool
	}{
		{"empty", "", 0, 0, false},
		{"blank lines", "\n\n" + good + "\n \n", 1, 0, false},
		{"CRLF", good + "\r\n" + good + "\r\n", 2, 0, false},
		{"torn end", good + "\n" + good[:40], 1, 0, true},
		{"whole but for the newline", good + "\n" + good, 2, 0, false},
		{"torn and ended", good[:40] + "\n" + good + "\n", 1, 1, false},
		{"zeros of a power loss", good + "\n\x00\x00\x00\x00\n" + good + "\n", 2, 1, false},
		{"not UTF-8", strings.Replace(good, "step", "st\xffp", 1) + "\n" + good + "\n", 1, 1, false},
		{"no object", "1\n\"step\"\n[]\nnull\n" + good + "\n", 1, 4, false},
		{"no kind", "{}\n{\"kind\":\"\"}\n{\"kind\":1}\n" + good + "\n", 1, 3, false},
		{"wrong type", `{"kind":"step","step":"7"}` + "\n" + `{"kind":"step","step":7,"loss":true}` + "\n" + good + "\n", 1,
			2, false},
		{"two on a line", good + good + "\n" + good + "\n", 1, 1, false},
		{"unknown kind", `{"kind":"later","step":3,"x":[1]}` + "\n" + good + "\n", 2, 0, false},
		{"unknown field", strings.Replace(good, `"tokens"`, `"new":1,"tokens"`, 1) + "\n", 1, 0, false},
		{"line too long", `{"kind":"later","x":"` + strings.Repeat("x", maxLine) + "\"}\n" + good + "\n", 1, 1, false},
		{"last line too long", good + "\n" + strings.Repeat("x", maxLine+2), 1, 0, true},
		{"deep", `{"kind":"later","x":` + strings.Repeat("[", 1<<20) + "\n" + good + "\n", 1, 1, false},
	} {
		l, err := Parse(strings.NewReader(c.text))
		if err != nil || len(l.Records) != c.records || l.Garbled != c.garbled || l.Torn != c.torn {
			t.Errorf("%s: %d records, %d garbled, torn %v, %v; want %d, %d, %v", c.name, len(l.Records), l.Garbled, l.Torn, err,
				c.records, c.garbled, c.torn)
		}
	}
	if _, err := Read(crash.New(), "none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
}

func step(attempt, n int64, loss Float) Step {
	return Step{At: At{Step: n, Batch: n, Attempt: attempt, Time: time.Now()}, Loss: loss,
		TokensPerSecond: Float(attempt) * 100, MemoryBytes: attempt}
}

// logOf writes records and reads them back.
func logOf(t *testing.T, records ...any) *Log {
	t.Helper()
	fsys := crash.New()
	w, err := OpenWriter(fsys, "log.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		if err := w.Write(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	l, err := Read(fsys, "log.jsonl")
	if err != nil || len(l.Records) != len(records) {
		t.Fatalf("%d records of %d, %v", len(l.Records), len(records), err)
	}
	return l
}

func TestEffective(t *testing.T) {
	event := func(attempt, n int64, code string) Event { return Event{At: At{Step: n, Attempt: attempt}, Code: code} }
	eval := func(attempt, n int64, loss Float) Eval { return Eval{At: At{Step: n, Attempt: attempt}, ValLoss: loss} }
	resume := func(attempt, n int64) Resume { return Resume{At: At{Step: n, Attempt: attempt}} }
	once := []any{
		Start{At: At{Attempt: 1}}, step(1, 1, 5), event(1, 2, "W-A"), event(1, 2, "W-B"), step(1, 2, 4), eval(1, 2,
			4.5), step(1, 3, 3), step(1, 4, 2), End{},
	}
	killed := []any{
		Start{At: At{Attempt: 1}}, step(1, 1, 5), event(1, 2, "W-A"), event(1, 2, "W-B"), step(1, 2, 4), eval(1, 2,
			4.5), step(1, 3, 3), event(1, 4, "W-LOST"),
		resume(2, 2), event(2, 2, "F-REFUSED"), step(2, 3, 3), step(2, 4, 99), eval(2, 4, 1),
		resume(3, 1), event(3, 2, "W-A"), event(3, 2, "W-B"), step(3, 2, 4), eval(3, 2, 4.5), step(3, 3, 3), step(3, 4,
			2), End{},
	}
	a, b := logOf(t, once...), logOf(t, killed...)
	if err := errors.Join(Identical(a, b), Identical(b, a), Identical(a, a)); err != nil {
		t.Error(err)
	}
	var got []string
	for _, r := range b.Effective().Records {
		got = append(got, fmt.Sprintf("%s %d/%d", r.Kind, r.At.Attempt, r.At.Step))
	}
	want := "start 1/0 step 1/1 resume 2/2 resume 3/1 event 3/2 event 3/2 step 3/2 eval 3/2 step 3/3 step 3/4 end 0/0"
	if strings.Join(got, " ") != want {
		t.Errorf("effective: %s\nwant: %s", strings.Join(got, " "), want)
	}
	if len(b.Records) != len(killed) {
		t.Error("Effective changed the log")
	}
	// The resume records are torn away: attempts tell.
	var lost []any
	for _, r := range killed {
		if _, ok := r.(Resume); !ok {
			lost = append(lost, r)
		}
	}
	if got := All[Step](logOf(t, lost...).Effective()); len(got) != 4 || got[3].Loss != 2 || got[1].Attempt != 3 {
		t.Errorf("without the resume records: %+v", got)
	}
	// A run killed after a resume: what the first attempt did beyond it is void.
	if got := All[Step](logOf(t, step(1, 1, 5), step(1, 2, 4), step(1, 3, 3), resume(2, 1),
		step(2, 2, 4)).Effective()); len(got) != 2 {
		t.Errorf("after a resume that did one step: %+v", got)
	}
}

// A rewind takes back what later steps came to and keeps what was seen there; a kill after it, on either side of a
// later checkpoint, leaves the same effective log.
func TestEffectiveAfterARewind(t *testing.T) {
	at := func(attempt, step, batch int64) At { return At{Step: step, Batch: batch, Attempt: attempt} }
	step := func(a, n, b int64, loss Float) Step { return Step{At: at(a, n, b), Loss: loss} }
	first := func(a int64) []any { // up to the rewind from step 4 to step 2, behind batch 9
		return []any{step(a, 3, 3, 9), step(a, 4, 4, 9), Refused{At: at(a, 5, 5), Action: "skip"},
			Event{At: at(a, 5, 5), Code: "E1-OUTLIER"},
			Refused{At: at(a, 5, 6), Action: "rewind"}, Event{At: at(a, 5, 6), Code: "E2-SUSTAINED"}, Rewind{At: at(a, 2, 9),
				From: 4}}
	}
	after := func(a int64) []any { return []any{step(a, 3, 10, 3), step(a, 4, 11, 2), step(a, 5, 12, 1)} }
	begin := []any{step(1, 1, 1, 5), step(1, 2, 2, 4)}
	join := func(parts ...[]any) (all []any) {
		for _, p := range parts {
			all = append(all, p...)
		}
		return all
	}
	once := logOf(t, join(begin, first(1), after(1))...)
	var got []string
	for _, r := range once.Effective().Records {
		got = append(got, fmt.Sprintf("%s %d/%d", r.Kind, r.At.Step, r.At.Batch))
	}
	const want = "step 1/1 step 2/2 refused 5/5 event 5/5 refused 5/6 event 5/6 rewind 2/9 step 3/10 step 4/11 step 5/12"
	if strings.Join(got, " ") != want {
		t.Errorf("effective: %s\nwant: %s", strings.Join(got, " "), want)
	}
	for name, killed := range map[string][]any{
		"before the rewind": join(begin, first(1)[:4], []any{Resume{At: at(2, 2, 2)}}, first(2), after(2)),
		"after it, no later save": join(begin, first(1), after(1)[:1], []any{Resume{At: at(2, 2, 2)}}, first(2),
			after(2)),
		"after a save of a new step 4": join(begin, first(1), after(1), []any{Resume{At: at(2, 4, 11)}}, after(2)[2:]),
	} {
		if err := Identical(once, logOf(t, killed...)); err != nil {
			t.Errorf("killed %s: %v", name, err)
		}
	}
}

func TestIdenticalNamesTheDifference(t *testing.T) {
	base := []any{step(1, 1, 5), step(1, 2, 4), Event{At: At{Step: 2, Attempt: 1}, Code: "W-A",
		Numbers: map[string]Float{"z": 3}}, Eval{At: At{Step: 2,
		Attempt: 1}, ValLoss: 1, Metrics: map[string]Float{"rep3": 0.5, "eval_seconds": 9}}}
	for _, c := range []struct {
		what   string
		change func(r []any) []any
		want   string // "" for no difference
	}{
		{"nothing", func(r []any) []any { return r }, ""},
		{"one bit of a loss", func(r []any) []any { r[1] = step(1, 2, Float(math.Nextafter(4, 5))); return r },
			"step of step 2 (lines 2 and 2): loss is 4 in the first log and 4.000000000000001 in the second"},
		{"speed, memory, time, attempt", func(r []any) []any {
			s := step(2, 2, 4)
			s.MemoryBytes, s.TokensPerSecond = 12, 13
			r[1] = s
			e := r[2].(Event)
			e.Attempt = 2
			r[2] = e
			return r
		}, ""},
		{"a duration", func(r []any) []any {
			e := r[3].(Eval)
			e.Metrics = map[string]Float{"rep3": 0.5, "eval_seconds": 10}
			r[3] = e
			return r
		}, ""},
		{"batch", func(r []any) []any { s := step(1, 2, 4); s.Batch = 3; r[1] = s; return r }, "batch is 2"},
		{"missing step", func(r []any) []any { return append(r[:1:1], r[2:]...) },
			"step of step 2 (line 2) is only in the first log"},
		{"another step", func(r []any) []any { return append(r, step(1, 3, 3)) },
			"step of step 3 (line 5) is only in the second log"},
		{"missing event", func(r []any) []any { return append(r[:2:2], r[3]) },
			"event of step 2 (line 3) is only in the first log"},
		{"numbers of an event", func(r []any) []any {
			e := r[2].(Event)
			e.Numbers = map[string]Float{"z": 4}
			r[2] = e
			return r
		}, `numbers is {"z":3}`},
		{"event about a file", func(r []any) []any { return append(r, Event{At: At{Step: 2, Attempt: 1}, Code: "F-TORN"}) },
			""},
		{"metric", func(r []any) []any {
			e := r[3].(Eval)
			e.Metrics = map[string]Float{"rep4": 0.5}
			r[3] = e
			return r
		}, "rep3 is 0.5 in the first log and nothing in the second"},
	} {
		a, b := logOf(t, base...), logOf(t, c.change(append([]any{}, base...))...)
		err := Identical(a, b)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.what, err, c.want)
		}
		if back := Identical(b, a); (back == nil) != (err == nil) {
			t.Errorf("%s: the other way round: %v", c.what, back)
		}
	}
}

// TestWriterCrash stops a writer after each operation and loses power: what was synced is read back, in order and
// whole, and going on loses nothing more.
func TestWriterCrash(t *testing.T) {
	const steps, every = 12, 4
	run := func(fsys durable.FS, from int64) (synced int64, err error) {
		w, err := OpenWriter(fsys, "run/log.jsonl")
		if err != nil {
			return 0, err
		}
		for n := from; n < from+steps; n++ {
			if err := w.Write(step(1, n, Float(n))); err != nil {
				return synced, err
			}
			if n%every == 0 {
				if err := w.Sync(); err != nil {
					return synced, err
				}
				synced = n
			}
		}
		return synced, w.Close()
	}
	prepare := func() *crash.FS {
		fsys := crash.New()
		if err := durable.Mkdir(fsys, "run"); err != nil {
			t.Fatal(err)
		}
		return fsys
	}
	whole := prepare()
	start := whole.Ops()
	if _, err := run(whole, 1); err != nil {
		t.Fatal(err)
	}
	ops, states := whole.Ops()-start, 0
	for k := range ops + 1 {
		fsys := prepare()
		fsys.StopAt(k)
		synced, err := run(fsys, 1)
		if (err == nil) != (k == ops) {
			t.Fatalf("stopped at %d of %d: %v", k, ops, err)
		}
		for seed := range uint64(12) {
			states++
			after := fsys.Clone([]int{0, 50, 100}[seed%3], seed)
			if _, err := run(after, 100); err != nil {
				t.Fatal(err)
			}
			l, err := Read(after, "run/log.jsonl")
			if err != nil || l.Torn {
				t.Fatalf("torn %v, %v", l.Torn, err)
			}
			got := All[Step](l)
			if len(got) < int(synced)+steps {
				t.Fatalf("stopped at %d: %d records, %d were synced", k, len(got), synced)
			}
			for i, s := range got[:synced] {
				if s.Step != int64(i+1) || s.Loss != Float(i+1) {
					t.Fatalf("stopped at %d: record %d is %+v", k, i, s)
				}
			}
			for i, s := range got[len(got)-steps:] {
				if s.Step != int64(100+i) {
					t.Fatalf("stopped at %d: after going on record %d is %+v", k, i, s)
				}
			}
		}
	}
	t.Logf("%d crash points, %d states", ops+1, states)
}

// TestWriterErrors: a failed write tears one line and no other; a failed sync is never repeated.
func TestWriterErrors(t *testing.T) {
	fsys := crash.New()
	w, err := OpenWriter(fsys, "log.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(step(1, 1, 1)); err != nil {
		t.Fatal(err)
	}
	fsys.FailAt(1, durable.ErrNoSpace)
	if err := w.Write(step(1, 2, 2)); !errors.Is(err, durable.ErrNoSpace) {
		t.Fatalf("full disk: %v", err)
	}
	if err := w.Write(step(1, 3, 3)); err != nil {
		t.Fatal(err)
	}
	l, err := Read(fsys, "log.jsonl")
	if got := All[Step](l); err != nil || len(got) != 2 || got[1].Step != 3 || l.Garbled != 1 {
		t.Errorf("%+v, %d garbled, %v", got, l.Garbled, err)
	}
	eio := errors.New("input/output error")
	fsys.FailAt(1, eio)
	if err := w.Sync(); !errors.Is(err, eio) {
		t.Errorf("sync: %v", err)
	}
	before := len(fsys.Trace())
	if err := w.Sync(); !errors.Is(err, eio) || len(fsys.Trace()) != before {
		t.Errorf("second sync: %v", err)
	}
	if err := w.Write(Eval{Metrics: map[string]Float{"val_loss": 1}}); err == nil {
		t.Error("a metric took the name of a field")
	}
	if err := w.Write(Event{Message: strings.Repeat("x", maxLine)}); err == nil {
		t.Error("a line longer than readers accept was written")
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("what is no record was written")
			}
		}()
		_ = w.Write("text")
	}()
}

func TestRealDisk(t *testing.T) {
	name := filepath.Join(t.TempDir(), "log.jsonl")
	if err := durable.WriteFile(durable.OS, name, []byte(golden[0].line+"\n"+golden[0].line[:30])); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		w, err := OpenWriter(durable.OS, name)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(w.Write(step(1, 8, 1)), w.Sync(), w.Close()); err != nil {
			t.Fatal(err)
		}
	}
	l, err := Read(durable.OS, name)
	if err != nil || len(l.Records) != 3 || l.Garbled != 1 || l.Torn {
		t.Errorf("%d records, %d garbled, torn %v, %v", len(l.Records), l.Garbled, l.Torn, err)
	}
}

// FuzzRead: no panic; lines are accounted for; what is read survives being written again.
func FuzzRead(f *testing.F) {
	var all strings.Builder
	for _, g := range golden {
		f.Add([]byte(g.line + "\n"))
		all.WriteString(g.line + "\n")
	}
	f.Add([]byte(all.String()))
	f.Add([]byte(all.String()[:500]))
	f.Add([]byte("{\"kind\":\"later\",\"step\":-1}\n\n\x00\n{"))
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := Parse(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		lines := 0
		for _, line := range bytes.Split(data, []byte("\n")) {
			if len(bytes.TrimSpace(line)) > 0 {
				lines++
			}
		}
		torn := 0
		if l.Torn {
			torn = 1
		}
		if len(l.Records)+l.Garbled+torn != lines {
			t.Fatalf("%d records, %d garbled, torn %v of %d lines", len(l.Records), l.Garbled, l.Torn, lines)
		}
		if err := Identical(l, l); err != nil {
			t.Fatalf("a log differs from itself: %v", err)
		}
		for _, r := range l.Effective().Records {
			if r.Value == nil {
				continue
			}
			line, err := json.Marshal(r.Value)
			if err != nil {
				if strings.Contains(err.Error(), "Time.MarshalJSON") {
					continue // a zone that can be read but not written
				}
				t.Fatalf("%s: %v", r.Raw, err)
			}
			again, ok := parseRecord(line)
			if !ok {
				t.Fatalf("%s is written as %s, which is no record", r.Raw, line)
			}
			if twice, err := json.Marshal(again.Value); err != nil || !bytes.Equal(twice, line) {
				t.Fatalf("%s is written as %s and then as %s, %v", r.Raw, line, twice, err)
			}
		}
	})
}
