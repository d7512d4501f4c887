package hub

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"gimbal/internal/checkpoint"
	"gimbal/internal/config"
	"gimbal/internal/family"
	"gimbal/internal/param"
	"gimbal/internal/rundir"
	"gimbal/internal/safetensors"
)

// Files of an adapter, beside its weights: what PEFT reads, and the hash of the weights that it stands beside.
const (
	adapterFile = "adapter_config.json"
	baseFile    = "adapter_base.json"

	maxAdapterConfig = 1 << 20
)

// Base is the model that an adapter stands beside.
type Base struct {
	Path string `json:"path"`           // absolute
	Near string `json:"near,omitempty"` // from the directory of the adapter: both may have been moved
	Hash string `json:"sha256"`         // of its file of weights
}

// BaseOf describes a model as the base of an adapter.
func BaseOf(m *Model) (b Base, err error) {
	if b.Path, err = filepath.Abs(m.Path()); err == nil {
		b.Hash, err = m.Checkpoint.WeightsHash()
	}
	return b, err
}

// adapterConfig is adapter_config.json of PEFT, as far as it decides what is computed.
type adapterConfig struct {
	Type        string          `json:"peft_type"`
	Task        string          `json:"task_type"`
	Base        string          `json:"base_model_name_or_path"`
	Rank        int             `json:"r"`
	Alpha       float64         `json:"lora_alpha"`
	Dropout     float64         `json:"lora_dropout"`
	Targets     json.RawMessage `json:"target_modules"`
	RSLoRA      bool            `json:"use_rslora"`
	Transposed  bool            `json:"fan_in_fan_out"`
	Bias        string          `json:"bias"`
	Inference   bool            `json:"inference_mode"`
	DoRA        bool            `json:"use_dora"`
	Saved       []string        `json:"modules_to_save"`
	Ranks       map[string]any  `json:"rank_pattern,omitempty"`
	Alphas      map[string]any  `json:"alpha_pattern,omitempty"`
	Layers      any             `json:"layers_to_transform"`
	Replication any             `json:"layer_replication"`
}

// inertInAdapters are keys of adapter_config.json that change nothing once an adapter is trained.
var inertInAdapters = strings.Fields(`auto_mapping peft_version revision runtime_config megatron_core layers_pattern
	init_lora_weights loftq_config eva_config corda_config lora_ga_config velora_config qalora_group_size
	ensure_weight_tying`)

// inits are the values of init_lora_weights that leave the weights beside the adapter as they are.
var inits = []string{"", "null", "true", "false", `"gaussian"`, `"eva"`, `"orthogonal"`, `"mica"`}

// readAdapterConfig refuses what would change what is computed and is not known, by its key.
func readAdapterConfig(raw []byte) (c adapterConfig, err error) {
	keys, err := family.ReadObject(raw, maxAdapterConfig)
	if err == nil {
		err = json.Unmarshal(raw, &c)
	}
	if err != nil {
		return c, err
	}
	known := slices.Clone(inertInAdapters)
	for i := range reflect.TypeFor[adapterConfig]().NumField() {
		name, _, _ := strings.Cut(reflect.TypeFor[adapterConfig]().Field(i).Tag.Get("json"), ",")
		known = append(known, name)
	}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if !slices.Contains(known, key) && !family.Off(key, keys[key]) {
			return c, fmt.Errorf("%s is %.60s, which is not computed", key, keys[key])
		}
	}
	if init := string(keys["init_lora_weights"]); !slices.Contains(inits, init) {
		return c, fmt.Errorf("init_lora_weights is %.60s, which may have changed the weights beside the adapter; let "+
			"PEFT write it as a plain adapter (path_initial_model_for_weight_conversion)", init)
	}
	return c, nil
}

// AdapterFiles returns the files of an adapter, which NewAdapter made, beside its weights in the directory at.
func AdapterFiles(a config.Arch, ad param.Adapter, c config.Adapter, base Base, at string) (map[string][]byte, error) {
	targets, err := json.Marshal(param.ModuleNames(a, ad.Targets))
	if err != nil {
		return nil, err
	}
	conf, err := json.MarshalIndent(adapterConfig{Type: "LORA", Task: "CAUSAL_LM", Base: base.Path, Rank: ad.Rank,
		Alpha: c.Alpha, Dropout: ad.Dropout, DoRA: ad.DoRA, Targets: targets, RSLoRA: c.RSLoRA,
		Transposed: a.Shape == "gpt2", Bias: "none", Inference: true}, "", "  ")
	if err != nil {
		return nil, err
	}
	if at, err = filepath.Abs(at); err != nil {
		return nil, err
	}
	near, _ := filepath.Rel(at, base.Path) // there is none on another drive
	base.Near = filepath.ToSlash(near)
	own, err := json.MarshalIndent(base, "", "  ")
	return map[string][]byte{adapterFile: append(conf, '\n'), baseFile: append(own, '\n')}, err
}

// NewAdapter returns the adapter that a configuration describes, and how many parameters it has. targets are names of
// PEFT, or all.
func NewAdapter(a config.Arch, c config.Adapter) (ad param.Adapter, n int64, err error) {
	ad = param.Adapter{Rank: c.Rank, Scale: c.Alpha / float64(c.Rank), Dropout: c.Dropout, DoRA: c.DoRA,
		Base: c.Base}
	if c.RSLoRA {
		ad.Scale = c.Alpha / math.Sqrt(float64(c.Rank))
	}
	if ad.Targets, err = param.ParseTargets(a, c.Targets); err != nil {
		return ad, 0, err
	}
	_, total := param.AdapterLayout(a, ad)
	return ad, int64(total), nil
}

// adapterOf reads what an adapter is, for a model of an architecture.
func (c *adapterConfig) adapterOf(a config.Arch) (ad param.Adapter, err error) {
	refuse := func(key string, value any) error { return fmt.Errorf("%s is %v, which is not computed", key, value) }
	switch {
	case c.Type != "LORA":
		return ad, refuse("peft_type", c.Type)
	case c.Rank < 1 || c.Rank > 1<<12 || !(c.Alpha > 0):
		return ad, fmt.Errorf("r is %d and lora_alpha %v: both are above 0", c.Rank, c.Alpha)
	case !(c.Dropout >= 0 && c.Dropout < 1):
		return ad, refuse("lora_dropout", c.Dropout)
	case c.Bias != "" && c.Bias != "none":
		return ad, refuse("bias", c.Bias)
	case len(c.Saved) > 0:
		return ad, refuse("modules_to_save", c.Saved)
	case len(c.Ranks) > 0 || len(c.Alphas) > 0:
		return ad, errors.New("rank_pattern and alpha_pattern are not computed")
	case c.Layers != nil || c.Replication != nil:
		return ad, errors.New("layers_to_transform and layer_replication are not computed")
	}
	names := []string{"all"}
	if string(c.Targets) != `"all-linear"` {
		if err := json.Unmarshal(c.Targets, &names); err != nil {
			return ad, fmt.Errorf("target_modules is %.60s: a list of names, or \"all-linear\"", c.Targets)
		}
	}
	ad, _, err = NewAdapter(a, config.Adapter{Rank: c.Rank, Alpha: c.Alpha, RSLoRA: c.RSLoRA, Targets: names,
		Dropout: c.Dropout, DoRA: c.DoRA})
	return ad, err
}

// mostNested is how many adapters may stand on each other.
const mostNested = 4

// openAdapter opens the model of an adapter: its base, with the changes added to what is read of it.
func openAdapter(c *checkpoint.Checkpoint, nested int) (_ *Model, err error) {
	fault := func(file string, err error) error { return &Error{c.Path(), file, err} }
	raw, err := c.File(adapterFile)
	var conf adapterConfig
	if err == nil {
		conf, err = readAdapterConfig(raw)
	}
	if err != nil {
		return nil, fault(adapterFile, err)
	}
	if nested >= mostNested {
		return nil, fault(adapterFile, errors.New("it stands on too many adapters"))
	}
	base, err := openBase(c, conf.Base, nested)
	if err != nil {
		return nil, fault(adapterFile, err)
	}
	m := &Model{Checkpoint: c, Arch: base.Arch, base: base}
	if m.adapter, err = conf.adapterOf(m.Arch); err == nil {
		err = param.CheckAdapter(m.Arch, m.adapter, c.Model())
	}
	if err == nil { // its own tokenizer and template are those that it was trained with
		m.Tok, _, m.Notes, err = describe(m)
	}
	if err != nil {
		return nil, errors.Join(fault(adapterFile, err), base.Close())
	}
	return m, nil
}

// openBase opens the model that an adapter stands beside, and checks that it is the one that it was trained with.
func openBase(c *checkpoint.Checkpoint, path string, nested int) (*Model, error) {
	if path == "" {
		return nil, errors.New("base_model_name_or_path is missing: write there where the model is that the adapter " +
			"was trained with")
	}
	var was Base
	if raw, err := c.File(baseFile); err == nil {
		if err := json.Unmarshal(raw, &was); err != nil {
			return nil, fmt.Errorf("%s: %w", baseFile, err)
		}
	}
	places := []string{path}
	if !filepath.IsAbs(path) {
		places = append(places, filepath.Join(c.Path(), path))
	}
	if was.Near != "" {
		places = append(places, filepath.Join(c.Path(), filepath.FromSlash(was.Near)))
	}
	at := slices.IndexFunc(places, func(place string) bool {
		info, err := os.Stat(place)
		return err == nil && info.IsDir()
	})
	if at < 0 {
		advice := "write there where it is"
		if was.Hash != "" { // the file has a sum
			advice = "put it there, or a link to it"
		}
		return nil, fmt.Errorf("base_model_name_or_path: there is no directory %s with the model that the adapter was "+
			"trained with: %s", strings.Join(places, ", nor "), advice)
	}
	path = places[at]
	b, err := rundir.OpenWeights(path)
	if err != nil {
		return nil, err
	}
	if was.Hash != "" {
		is, err := b.WeightsHash()
		if err == nil && is != was.Hash {
			err = fmt.Errorf("the weights in %s are not those that the adapter was trained with", path)
		}
		if err != nil {
			return nil, errors.Join(err, b.Close())
		}
	}
	return modelOf(b, nested+1)
}

// BF16 reports whether the model computes with weights that are in bfloat16.
func (m *Model) BF16() bool { return m.base == nil && param.IsBF16(m.Checkpoint.Model()) }

// Model returns the weights that the model computes with.
func (m *Model) Model() *safetensors.File {
	if m.base == nil {
		return m.Checkpoint.Model()
	}
	return param.Merged(m.Arch, m.adapter, m.base.Model(), m.Checkpoint.Model())
}

// File returns a small file of the model. An adapter of others takes what it does not have from its base; one of a run
// has all.
func (m *Model) File(name string) ([]byte, error) {
	raw, err := m.Checkpoint.File(name)
	if m.base == nil || !errors.Is(err, fs.ErrNotExist) {
		return raw, err
	}
	if _, own := m.Checkpoint.File(configFile); own == nil && name != configFile {
		return raw, err
	}
	return m.base.File(name)
}

// Base is the model that its adapter stands beside; nil: it has none.
func (m *Model) Base() *Model { return m.base }

// Close closes the files.
func (m *Model) Close() error {
	err := m.Checkpoint.Close()
	if m.base != nil {
		err = errors.Join(err, m.base.Close())
	}
	return err
}
