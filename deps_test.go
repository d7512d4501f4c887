package gimbal_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"testing"

	"gimbal"
)

// lattice is the import policy of the house: a package may import what its line names and nothing else of ours. Every
// arrow points down: a package may name only packages that stand above it in this list, which is checked too.
//
// DO NOT ADD AN ARROW TO FIX A BUILD. If the right code needs one that is not here, the design may be wrong: change
// it in one step and say so in docs/architecture.md and RATIONALE.md.
var lattice = []struct {
	pkg  string
	may  string
	note string
}{
	{"internal/cpu", "", "CPU features"},
	{"internal/par", "", "persistent worker pool"},
	{"internal/rng", "", "counter-based random numbers"},
	{"internal/memory", "", "what this process holds and can still take; aligned slices"},
	{"internal/plain", "", "text of others, made safe to show"},
	{"internal/testseed", "", "the seed of random tests; no line grants it, so only tests import it"},
	{"internal/testmem", "", "memory that shows a touch beyond its edges; only tests import it, too"},
	{"internal/durable", "", "the one door to disk"},
	{"internal/durable/crash", "internal/durable", "its fault-injecting twin, for tests"},
	{"internal/kernel", "internal/cpu internal/par", "SIMD kernels and tiers"},
	{"internal/fused", "internal/kernel", "what layers do with one row, in one call; knows no parameters"},
	{"internal/bom", "", "byte order marks"},
	{"internal/config", "internal/bom", "the one description of a run"},
	{"internal/guard", "", "pure decisions on step statistics; standard library only"},
	{"internal/dist", "", "ranks and collectives; knows no model"},
	{"internal/strictjson", "internal/bom", "JSON that nobody vouches for"},
	{"internal/normal", "", "normal forms of text in parts; knows no token"},
	{"internal/split", "internal/normal", "text to the pieces of known patterns; knows no token"},
	{"internal/bpe", "", "pairs of tokens: merges them and learns which; knows no text"},
	{"internal/tokenizer", "internal/bpe internal/normal internal/par internal/split internal/strictjson",
		"text to tokens and back"},
	{"internal/safetensors", "internal/durable internal/strictjson", "the file format, strict"},
	{"internal/checkpoint", "internal/safetensors internal/durable", "named tensors and state; knows no model"},
	{"internal/runlog", "internal/durable", "the schema of a run's records"},
	{"internal/baseline", "internal/tokenizer", "n-gram reference losses"},
	{"internal/parquet", "internal/strictjson", "columns out of a Parquet file, strict"},
	{"internal/jinja", "", "templates of strangers, rendered within limits; knows no conversation"},
	{"internal/chat", "internal/jinja internal/strictjson",
		"formats of conversations; knows no tokenizer, no file and no model"},
	{"internal/sniff", "", "what bytes are: kinds of files, encodings; reads no file"},
	{"internal/record", "internal/chat internal/strictjson", "records of JSON and of tables to texts and " +
		"conversations; " +
		"knows no file"},
	{"internal/corpus", "internal/bom internal/chat internal/par internal/parquet internal/record internal/sniff internal/strictjson",
		"files to documents"},
	{"internal/shards", "internal/corpus internal/durable internal/par",
		"the token cache: written, verified, mapped; knows no text and no tokenizer"},
	{"internal/data", "internal/chat internal/corpus internal/par internal/shards internal/sniff internal/tokenizer " +
		"internal/durable internal/rng",
		"documents to ragged batches"},
	{"internal/nn", "internal/fused internal/kernel internal/par internal/rng", "layers, forward beside backward"},
	{"internal/optim", "internal/kernel internal/par", "Muon and AdamW, schedules, clipping"},
	{"internal/family", "internal/config internal/strictjson",
		"families of models: config.json in and out, names of tensors; knows no weights"},
	{"internal/param", "internal/config internal/family internal/kernel internal/memory internal/par internal/rng " +
		"internal/safetensors",
		"parameters of a decoder: names, shapes, initial values, files; computes nothing with them"},
	{"internal/model", "internal/nn internal/param internal/config internal/kernel internal/memory internal/par " +
		"internal/rng internal/safetensors", "the decoder"},
	{"internal/rundir", "internal/checkpoint internal/config internal/durable internal/runlog",
		"what lies in the directory of a run, and how it is found and opened"},
	{"internal/mirror", "internal/checkpoint internal/durable internal/rundir",
		"a second copy of a run in object storage; knows no model"},
	{"internal/hub", "internal/bom internal/chat internal/family internal/param internal/checkpoint " +
		"internal/safetensors " +
		"internal/tokenizer internal/config internal/durable internal/rundir",
		"Hugging Face model directories, in and out; a checkpoint as a model"},
	{"internal/generate", "internal/par internal/rng", "sampling over a decoder; knows no model"},
	{"internal/engine", "internal/model internal/param internal/optim internal/kernel internal/generate " +
		"internal/data " +
		"internal/config internal/memory internal/rng internal/safetensors",
		"what trains and runs a model, whatever the hardware; the CPU engine"},
	{"internal/graph", "internal/config internal/model internal/optim internal/param",
		"programs of a decoder for accelerators, as text"},
	{"internal/device/wire", "", "what gimbal and gimbal-device say to each other"},
	{"internal/pjrt", "", "client of the PJRT C interface; for gimbal-device only, since it makes a binary dynamic"},
	{"internal/device",
		"internal/config internal/device/wire internal/durable internal/engine internal/generate internal/graph " +
			"internal/model internal/optim internal/par internal/param internal/rng internal/safetensors",
		"the engine on accelerators, and the process that owns them"},
	{"cmd/gimbal-device", "internal/device/wire internal/pjrt", "the process that owns accelerators"},
	{"internal/judge", "internal/baseline internal/bom internal/plain internal/rng internal/safetensors",
		"metrics of what was written, early stop, choice of a checkpoint; knows no model"},
	{"internal/plan", "internal/chat internal/config internal/corpus internal/data internal/durable " +
		"internal/engine internal/judge " +
		"internal/guard internal/optim internal/hub internal/shards internal/tokenizer", "configuration, text and " +
		"hardware to " +
		"one immutable plan"},
	{"internal/preflight", "internal/plan internal/engine internal/data internal/rundir internal/checkpoint " +
		"internal/durable internal/memory internal/optim internal/rng internal/runlog",
		"checks before step 1, on a plan and an engine"},
	{"internal/evaluate", "internal/engine internal/generate internal/judge internal/baseline internal/data " +
		"internal/bom internal/hub internal/runlog internal/rng internal/tokenizer internal/config",
		"the one evaluator: loss, baseline, writing; decides nothing and knows no model"},
	{"internal/inspect", "internal/data internal/durable internal/engine internal/guard internal/memory " +
		"internal/plan internal/runlog " +
		"internal/safetensors", "health of a model, and what is behind a number that is not finite"},
	{"internal/faults", "internal/config internal/data internal/durable internal/checkpoint internal/engine internal/rng",
		"faults planted on purpose, around batches, engine and disk"},
	{"internal/runs",
		"internal/checkpoint internal/config internal/durable internal/guard internal/judge internal/plain " +
			"internal/rundir internal/runlog",
		"readers of finished, running and crashed runs"},
	{"internal/runstate",
		"internal/checkpoint internal/config internal/data internal/durable internal/evaluate internal/faults " +
			"internal/guard internal/hub internal/inspect internal/judge internal/optim internal/plan " +
			"internal/rundir " +
			"internal/runlog internal/runs",
		"what a run is between two steps: its state, how that is saved, and opened again"},
	{"internal/exit",
		"internal/checkpoint internal/config internal/data internal/device internal/durable internal/hub " +
			"internal/plan " +
			"internal/preflight internal/rundir internal/tokenizer", "from errors to exit codes, for the command " +
			"and the log"},
	{"internal/measure",
		"internal/config internal/data internal/device internal/evaluate internal/exit internal/hub " +
			"internal/judge internal/plan " +
			"internal/rundir", "opens a model and a text, and measures the one on the other"},
	{"internal/train",
		"internal/checkpoint internal/config internal/data internal/device internal/durable internal/engine " +
			"internal/evaluate internal/exit internal/faults internal/guard internal/hub internal/inspect " +
			"internal/judge " +
			"internal/memory internal/mirror internal/optim internal/plan internal/preflight internal/rundir " +
			"internal/runlog " +
			"internal/runs internal/runstate internal/tokenizer",
		"the loop; sees numbers and events, and no array"},
	{".",
		"internal/chat internal/checkpoint internal/config internal/data internal/device internal/durable " +
			"internal/engine internal/evaluate " +
			"internal/exit internal/generate internal/hub internal/inspect internal/judge internal/kernel " +
			"internal/measure " +
			"internal/model internal/param internal/plan internal/preflight internal/rundir internal/runlog " +
			"internal/runs internal/tokenizer internal/train",
		"the Go API: types of its own over what is internal"},
	{"internal/bench",
		"internal/config internal/device internal/engine internal/graph internal/model internal/optim " +
			"internal/kernel internal/generate internal/tokenizer " +
			"internal/rng internal/safetensors internal/corpus", "what gimbal bench tells; nothing depends on it " +
			"but the command"},
	{"internal/screen", ". internal/plain internal/plan internal/runlog internal/runs",
		"shows a run to a person, on a terminal or through a pipe; for the command alone"},
	{"cmd/gimbal",
		". internal/bench internal/bom internal/config internal/data internal/device internal/durable internal/exit " +
			"internal/hub internal/kernel internal/par internal/plan internal/rundir internal/runlog " +
			"internal/runs internal/screen internal/shards internal/tokenizer",
		"main, one file per subcommand"},
}

// direct names the modules of others that each package may import.
var direct = map[string]string{
	"internal/config": "github.com/pelletier/go-toml/v2/unstable github.com/pelletier/go-toml/v2",
	"internal/corpus": "github.com/klauspost/compress/gzip github.com/klauspost/compress/zstd " +
		"golang.org/x/text/transform",
	"internal/cpu":        "golang.org/x/sys/cpu",
	"internal/durable":    "golang.org/x/sys/unix golang.org/x/sys/windows",
	"internal/judge":      "golang.org/x/text/unicode/norm",
	"internal/normal":     "golang.org/x/text/unicode/norm",
	"internal/parquet":    "github.com/andybalholm/brotli github.com/pierrec/lz4/v4 github.com/klauspost/compress/gzip github.com/klauspost/compress/snappy github.com/klauspost/compress/zstd",
	"internal/strictjson": "github.com/go-json-experiment/json/jsontext",
	"internal/sniff": "golang.org/x/text/encoding golang.org/x/text/encoding/charmap " +
		"golang.org/x/text/encoding/htmlindex golang.org/x/text/encoding/ianaindex " +
		"golang.org/x/text/encoding/unicode/utf32",
	"internal/device": "golang.org/x/sys/unix",
	"internal/mirror": "github.com/minio/minio-go/v7 github.com/minio/minio-go/v7/pkg/credentials",
	"internal/pjrt":   "github.com/ebitengine/purego",
	"internal/screen": "golang.org/x/term",
	"cmd/gimbal":      "github.com/alecthomas/kong golang.org/x/term",
}

func TestLattice(t *testing.T) {
	may := map[string][]string{}
	seen := map[string]bool{}
	for _, l := range lattice {
		for _, dep := range strings.Fields(l.may) {
			if !seen[dep] {
				t.Errorf("lattice: %s may import %s, which does not stand above it", l.pkg, dep)
			}
		}
		if l.note == "" {
			t.Errorf("lattice: %s has no note", l.pkg)
		}
		seen[l.pkg] = true
		may[l.pkg] = strings.Fields(l.may)
	}
	for _, p := range listPackages(t) {
		name := shorten(p.ImportPath)
		allowed, known := may[name]
		if !known {
			t.Errorf("%s is not in the lattice: say what it is for and what it may import", name)
			continue
		}
		for _, imp := range p.Imports {
			switch {
			case imp == "C":
				t.Errorf("%s uses cgo", name)
			case imp == module || strings.HasPrefix(imp, module+"/"):
				if dep := shorten(imp); !slices.Contains(allowed, dep) {
					t.Errorf("%s imports %s: that arrow is not in the lattice", name, dep)
				}
			case strings.Contains(strings.SplitN(imp, "/", 2)[0], "."):
				if !slices.Contains(strings.Fields(direct[name]), imp) {
					t.Errorf("%s imports %s: not among the dependencies allowed to it", name, imp)
				}
			}
		}
	}
}

type goPackage struct {
	ImportPath string
	Imports    []string
}

// listPackages asks the go command on three systems, so that files behind
// build tags are seen too; an arrow on any of them counts.
func listPackages(t *testing.T) []goPackage {
	t.Helper()
	var all []goPackage
	for _, target := range []string{"linux/amd64", "linux/arm64", "windows/amd64"} {
		goos, goarch, _ := strings.Cut(target, "/")
		cmd := exec.Command("go", "list", "-json=ImportPath,Imports", "./...")
		cmd.Env = append(cmd.Environ(), "GOOS="+goos, "GOARCH="+goarch, "CGO_ENABLED=0")
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("go list for %s: %v", target, err)
		}
		dec := json.NewDecoder(strings.NewReader(string(out)))
		n := 0
		for {
			var p goPackage
			if err := dec.Decode(&p); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			all = append(all, p)
			n++
		}
		if n == 0 {
			t.Fatalf("go list for %s found no package", target)
		}
	}
	return all
}

// module is the path of this module, which .ci/rename may have changed.
var module = reflect.TypeFor[gimbal.Model]().PkgPath()

func shorten(importPath string) string {
	if importPath == module {
		return "."
	}
	return strings.TrimPrefix(importPath, module+"/")
}
