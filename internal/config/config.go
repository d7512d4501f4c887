package config

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
)

// Config holds every key of a run. Start from Default, Load or Parse: the zero value is not useful. Copy it with Clone:
// a plain copy shares the record of origins.
type Config struct {
	Data       Data
	Tokenizer  Tokenizer
	Model      Model
	Train      Train
	Adapter    Adapter
	DPO        DPO
	Optim      Optim
	Schedule   Schedule
	Numeric    Numeric
	Checkpoint Checkpoint
	Eval       Eval
	Guard      Guard
	Judge      Judge

	origins map[string]string
	notes   []string
	lacks   []string // keys
}

// Data says what is read and how.
type Data struct {
	Paths        []string  // files and folders; empty: the source tree of the installed Go
	Weights      []float64 // share of training that each of Paths gets, in any unit; empty: by size
	Splits       string    // names or ignore: whether files named train, valid and test are what they say
	ValFraction  float64   // share of the corpus held out, in (0,0.5]
	Fields       []string  // which keys of records are read, such as "text=content"; empty: those that are known
	ValFrom      string    // before_end or end: where a text that is cut by position gives its held-out part
	Separator    string    // splits a file into documents; empty: a file is a document
	Encoding     string    // of files without a byte order mark; empty: UTF-8; raw: bytes as they are
	Template     string    // model or builtin: whether the model's own chat template writes conversations
	Start        string    // eos, bos or none: the input-only token that begins a document
	BadDocuments string    // stop or skip
	BadShare     float64   // largest share of documents that skip may leave out
}

// Tokenizer says how text becomes ids.
type Tokenizer struct {
	Kind      string // bpe, bytes or chars
	VocabSize int    // ids of a bpe; 0: by size of the corpus
	Path      string // an existing tokenizer.json; empty: make one
}

// Model describes the decoder; see Arch for what the zeros become.
type Model struct {
	Preset   string // a name of Presets; empty: by corpus and budget
	Shape    string // qwen3, llama, mistral, qwen2 or gpt2
	Layers   int    // 0: from the preset
	Width    int    // 0: from the preset
	Heads    int    // 0: max(1, width/64), or width/head_size
	KVHeads  int    // 0: heads/2 where that divides, gpt2: heads
	HeadSize int    // 0: width/heads
	MLP      int    // 0: 8/3 of the width rounded up to 64, gpt2: 4 times the width
	Tie      bool   // the head is the embedding
	Dropout  float64
}

// Train sets the size of the run.
type Train struct {
	Steps       int64   // updates; 0: planned from time and data
	Budget      float64 // minutes of a whole run whose steps are planned
	Context     int     // longest sequence, in tokens
	BatchTokens int     // ceiling of tokens of one step
	MicroTokens int     // ceiling of tokens of one pass; 0: by memory
	Adapter     string  // none or lora
	Objective   string  // lm or dpo
	Seed        uint64
}

// Adapter is changes of low rank that are trained in place of the weights, where train.adapter is lora.
type Adapter struct {
	Rank    int
	Alpha   float64  // times B·A, divided by the rank
	Targets []string // matrices of the blocks, by the names of PEFT; or all
	RSLoRA  bool     // divide by the root of the rank
	Dropout float64  // share of what the changes read that is dropped in training
	DoRA    bool     // the lengths of rows are trained beside their direction
	Base    string   // auto, fp32 or bf16: how the weights beside them are held
}

// DPO is how preferences are learned, where train.objective is dpo.
type DPO struct {
	Beta           float64 // times the log ratio to the reference
	LabelSmoothing float64 // share of preferences that are taken to be the wrong way round
}

// Optim configures the optimizer and clipping.
type Optim struct {
	Kind        string  // auto, muon or adamw
	LR          Rule    // peak learning rate: a rule, or a number
	Momentum    float64 // Muon: decay of the moment
	Beta1       float64 // AdamW: decay of the first moment
	Beta2       float64 // AdamW: decay of the second; 0: 0.99 below 0.5M tokens a step, else 0.95
	Eps         float64
	WeightDecay float64 // decoupled, on matrices only
	Clip        float64 // largest global gradient norm
	AGC         bool    // each tensor is clipped by its own history first
}

// Beta2At returns Beta2, or what its rule gives for a step of batchTokens tokens.
func (o Optim) Beta2At(batchTokens int) float64 {
	switch {
	case o.Beta2 != 0:
		return o.Beta2
	case batchTokens < 500_000:
		return 0.99
	}
	return 0.95
}

// Schedule sets the learning rate over the run, relative to its peak.
type Schedule struct {
	Kind        string // cosine-restarts, cosine, linear, wsd or constant
	Warmup      Rule   // auto, article, finetune, or a number of steps
	WarmupExact bool   // take Warmup as it is, without the ceiling of a quarter of the run
	Period      int64  // steps of a cycle of cosine-restarts; 0: min(steps, 10000)
	Floor       float64
	LateRestart bool // allow a restart shortly before the end of the run

	Extended []float64 // pairs: a step at which a resume changed the number of steps, and the number before
}

// Numeric sets precision, memory and hardware.
type Numeric struct {
	Mode          string // auto, fp32 or bf16
	Checkpointing string // auto, none, attention or block
	Device        string // auto, cpu, cuda, rocm, oneapi, tpu, or the path of a plugin
	Devices       int    // that train together; 0: all of the machine
	Shard         string // moments or parameters: what each of several devices holds a part of
	Fast          bool   // compilers may use operations whose sums have another order each time
}

// Checkpoint says when checkpoints are written and which are kept.
type Checkpoint struct {
	Every int64 // steps; 0: at each evaluation
	Keep  int   // newest kept, beside the named ones

	Mirror string // s3://BUCKET/PREFIX of a second copy; empty: none
}

// Eval says when the model is evaluated and what it writes then.
type Eval struct {
	Every     int64 // steps; 0: ten evaluations a run, epoch ends included
	Prompts   int
	Samples   int // for each prompt
	MaxTokens int // of a sample

	Keep []string // files and folders of text that the weights know and should not forget

	Tasks     []string // files of questions, or names of them
	TaskLimit int      // most questions of each
	TaskShots int      // examples before each question
}

// Guard says what the guard does about bad updates.
type Guard struct {
	Mode  string // act or observe
	Halve string // probation or article
}

// Judge says when a run stops early and which checkpoint is marked.
type Judge struct {
	EarlyStop string // sound, article or off
	Select    string // sound, article or loss
	Patience  int    // evaluations without a lower validation loss that end the run; 0: none do
	Encoder   string // a local static embedding (safetensors); empty: hash-sif
}

// Rule is the name of a rule, or a number.
type Rule struct {
	Name  string
	Value float64
}

// String returns the name, or the number with as few digits as give it back.
func (r Rule) String() string {
	if r.Name != "" {
		return r.Name
	}
	return formatFloat(r.Value)
}

// Default returns the configuration of a run without any setting.
func Default() *Config {
	c := &Config{
		Data: Data{Splits: "names", ValFraction: 0.05, ValFrom: "before_end", Template: "model", Start: "eos",
			BadDocuments: "stop",
			BadShare:     0.001},
		Tokenizer: Tokenizer{Kind: "bpe"},
		Model:     Model{Shape: "qwen3", Tie: true},
		Train: Train{Budget: 2.5, Context: 256, BatchTokens: 8192, Adapter: "none", Objective: "lm",
			Seed: 1},
		Optim: Optim{Kind: "auto", LR: Rule{Name: "auto"}, Momentum: 0.95, Beta1: 0.9, Eps: 1e-8, WeightDecay: 0.1,
			Clip: 1},
		Adapter:    Adapter{Rank: 16, Alpha: 32, Targets: []string{"all"}, Base: "auto"},
		DPO:        DPO{Beta: 0.1},
		Schedule:   Schedule{Kind: "cosine-restarts", Warmup: Rule{Name: "auto"}, Floor: 0.1},
		Numeric:    Numeric{Mode: "auto", Checkpointing: "auto", Device: "auto", Shard: "moments"},
		Checkpoint: Checkpoint{Keep: 3},
		Eval:       Eval{Prompts: 20, Samples: 5, MaxTokens: 128, TaskLimit: 100},
		Guard:      Guard{Mode: "act", Halve: "probation"},
		Judge:      Judge{EarlyStop: "sound", Select: "sound"},
		origins:    make(map[string]string, len(keys)),
	}
	for _, k := range keys {
		c.origins[k.name] = "default"
	}
	return c
}

// Plugin reports whether the device is a plugin, named by its path. Using it runs what is in that file.
func (n Numeric) Plugin() bool {
	return n.Device != "" && !slices.Contains(lookup("numeric.device").choices, n.Device)
}

// Clone returns an independent copy.
func (c *Config) Clone() *Config {
	d := *c
	d.Data.Paths, d.Data.Weights = slices.Clone(c.Data.Paths), slices.Clone(c.Data.Weights)
	d.Data.Fields = slices.Clone(c.Data.Fields)
	d.Schedule.Extended = slices.Clone(c.Schedule.Extended)
	d.origins = maps.Clone(c.origins)
	return &d
}

// Origin returns where the value of a key came from: "default", "preset nano", "file run.toml:12", "--set",
// "flag --steps", or what SetPlanned was told. It is empty for a key that does not exist.
func (c *Config) Origin(key string) string { return c.origins[key] }

// Notes names the keys that were given and that this version ignores, a sentence each.
func (c *Config) Notes() []string { return c.notes }

// Lacks names the keys that every file by TOML has, in every version, and that the one given to Reread does not: it was
// cut short, or is no run's.
func (c *Config) Lacks() []string { return c.lacks }

// Value returns the value of a key as a file has it, without quotes ("auto" when automatic), and whether the key
// exists.
func (c *Config) Value(key string) (string, bool) {
	k := lookup(key)
	if k == nil {
		return "", false
	}
	return k.format(c, false), true
}

// Auto reports whether a key that may be automatic is still undecided.
func (c *Config) Auto(key string) bool {
	k := lookup(key)
	return k != nil && k.isAuto(c)
}

// SetPlanned sets a key that the program decides, within the limits of a user's value, and records origin ("planned: 3
// min at 24k tokens/s", "rule: …"). value is an int, int64, uint64, float64, string, bool, []string, []float64 or Rule.
// If the key does not exist or refuses the value, it returns an *Error and changes nothing.
func (c *Config) SetPlanned(key string, value any, origin string) error {
	fault := unknown(key)
	if k := lookup(key); k != nil {
		fault = k.assign(c, valueOf(value))
	}
	if fault != "" {
		return &Error{[]Fault{{origin, key, fault}}}
	}
	c.origins[key] = origin
	return nil
}

// Hash returns the hex SHA-256 of all values in the order of Keys, without origins. A removed key counts with the value
// that most runs had, and a newer one not at all where it has the value of before: old runs keep their hash.
func (c *Config) Hash() string {
	h, plain := sha256.New(), Default()
	for _, k := range keys {
		for _, r := range removed {
			if r.before == k.name {
				fmt.Fprintf(h, "%s = %s\n", r.name, r.was)
			}
		}
		if was := cmp.Or(k.older, k.format(plain, false)); !k.newer || k.format(c, false) != was {
			fmt.Fprintf(h, "%s = %s\n", k.name, k.format(c, true))
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}
