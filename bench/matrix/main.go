// Command matrix runs the same short trainings with two builds of gimbal and reports whether anything changed that a
// change of structure must not change: numbers, codes and actions of the log, weights, moments, marks, the checkpoints
// that are kept, exit codes, and what eval and why print.
//
//	go run ./bench/matrix                                  the merge base with main against the work tree
//	go run ./bench/matrix -before v1 -after none -save v1.json   record one side
//	go run ./bench/matrix -against v1.json                 the recorded side against the work tree
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout)
	if err != nil {
		fmt.Fprintf(os.Stderr, "matrix: %v\n", err)
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	repo, before, after string
	save, against       string
	only                *regexp.Regexp
	tiers               []string
	keep, list          bool
}

func parse(ctx context.Context, args []string) (o options, err error) {
	fs := flag.NewFlagSet("matrix", flag.ContinueOnError)
	fs.StringVar(&o.repo, "repo", ".", "a directory of the repository")
	fs.StringVar(&o.before, "before", "", "commit or directory before the change (default: the merge base of HEAD and main)")
	fs.StringVar(&o.after, "after", "", "commit or directory after it; none: only record (default: the work tree)")
	fs.StringVar(&o.save, "save", "", "file to write the recorded side before into")
	fs.StringVar(&o.against, "against", "", "file that holds the side before: it is not run")
	only := fs.String("only", "", "regular expression of the scenarios to run")
	tiers := fs.String("tiers", "", "kernel tiers, by comma (default: all that the machine has)")
	fs.BoolVar(&o.keep, "keep", false, "keep the runs, and print where they are")
	fs.BoolVar(&o.list, "list", false, "list the scenarios")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if fs.NArg() > 0 {
		return o, fmt.Errorf("%q: there are no arguments", fs.Arg(0))
	}
	if o.only, err = regexp.Compile(*only); err != nil {
		return o, fmt.Errorf("-only: %w", err)
	}
	if *tiers != "" {
		o.tiers = strings.Split(*tiers, ",")
	}
	if o.repo, err = output(ctx, o.repo, "git", "rev-parse", "--show-toplevel"); err != nil {
		return o, err
	}
	if o.before == "" && o.against == "" {
		if o.before, err = output(ctx, o.repo, "git", "merge-base", "HEAD", "main"); err != nil {
			return o, err
		}
	}
	if o.after == "" {
		o.after = o.repo
	}
	return o, nil
}

// recording is one side.
type recording struct {
	Commit  string                        `json:"commit"`
	Go      string                        `json:"go"`
	CPU     string                        `json:"cpu"`
	Tiers   []string                      `json:"tiers"`
	Results map[string]map[string]outcome `json:"results"` // by tier and scenario
}

func run(ctx context.Context, args []string, w io.Writer) error {
	opt, err := parse(ctx, args)
	if err != nil {
		return err
	}
	if opt.list {
		for _, s := range scenarios() {
			fmt.Fprintln(w, s.name)
		}
		return nil
	}
	root, err := os.MkdirTemp("", "matrix-")
	if err != nil {
		return err
	}
	if opt.keep {
		fmt.Fprintf(w, "the runs are kept in %s\n", root)
	} else {
		defer os.RemoveAll(root)
	}
	texts := filepath.Join(root, "texts")
	if err := writeTexts(texts); err != nil {
		return err
	}
	m := matrix{opt: opt, root: root, texts: texts, w: w}
	var before *recording
	if opt.against != "" {
		before, err = load(opt.against)
	} else {
		before, err = m.record(ctx, "before", opt.before, nil)
	}
	if err != nil {
		return err
	}
	if opt.save != "" {
		if err := before.save(opt.save); err != nil {
			return err
		}
	}
	if opt.after == "none" {
		return nil
	}
	if before.CPU != cpuName() || before.Go != runtime.Version() {
		fmt.Fprintf(w, "note: recorded with %s on %q, this is %s on %q\n", before.Go, before.CPU, runtime.Version(), cpuName())
	}
	printIgnored(w)
	if _, err = m.record(ctx, "after", opt.after, before); err != nil {
		return err
	}
	if m.different > 0 {
		return fmt.Errorf("%d of %d runs differ", m.different, m.compared)
	}
	if m.compared == 0 {
		return errors.New("nothing was compared")
	}
	fmt.Fprintf(w, "all %d runs are the same\n", m.compared)
	return nil
}

// matrix is one call of the program.
type matrix struct {
	opt                 options
	root, texts         string
	w                   io.Writer
	compared, different int
}

// record builds a side and runs all scenarios on it. With another side to compare with it prints a line for each.
func (m *matrix) record(ctx context.Context, name, what string, with *recording) (*recording, error) {
	folder := filepath.Join(m.root, name)
	if err := os.MkdirAll(folder, 0o777); err != nil {
		return nil, err
	}
	b, err := build(ctx, m.opt.repo, what, folder)
	if err != nil {
		return nil, err
	}
	there, err := b.tiers(ctx)
	if err != nil {
		return nil, err
	}
	r := &recording{Commit: b.commit, Go: runtime.Version(), CPU: cpuName(), Results: map[string]map[string]outcome{}}
	if r.Tiers = m.opt.tiers; r.Tiers == nil {
		r.Tiers = there
	}
	missing := slices.DeleteFunc(slices.Clone(tierNames), func(t string) bool { return slices.Contains(r.Tiers, t) })
	fmt.Fprintf(m.w, "%s: %s; tiers %s; not run: %s\n", name, b.commit, strings.Join(r.Tiers, ", "), strings.Join(missing, ", "))
	fmt.Fprintf(m.w, "%-8s %-44s %7s %6s %5s %6s  %s\n", "tier", "run", "records", "hashes", "JSON", "s", "")
	for i, tier := range r.Tiers {
		p := place{binaries: b, tier: tier, root: folder, texts: m.texts, keep: m.opt.keep}
		r.Results[tier] = map[string]outcome{}
		for _, s := range scenarios() {
			if i > 0 && !s.light || !m.opt.only.MatchString(s.name) {
				continue
			}
			o, err := p.run(ctx, s)
			if err != nil {
				return nil, err
			}
			r.Results[tier][s.name] = o
			verdict := m.verdict(s, tier, r, with)
			fmt.Fprintf(m.w, "%-8s %-44s %7d %6d %5d %6.1f  %s\n", tier, s.name, len(o.Records), len(o.Hashes), len(o.Documents), o.Seconds, verdict)
		}
	}
	return r, nil
}

// verdict compares a result with the one before, and with the scenario of the same side that it must agree with.
func (m *matrix) verdict(s scenario, tier string, r, with *recording) string {
	o := r.Results[tier][s.name]
	var wrong []string
	if twin, ok := r.Results[tier][s.same]; ok {
		if d := compare(s.name, twin.core(), o.core()); d != "" {
			wrong = append(wrong, fmt.Sprintf("NOT AS %q: %s", s.same, d))
		}
	}
	if with == nil {
		return strings.Join(append(wrong, strings.Join(o.Exits, ", ")), "; ")
	}
	old, ok := with.Results[tier][s.name]
	if !ok {
		return strings.Join(append(wrong, "not recorded before"), "; ")
	}
	m.compared++
	if d := compare(s.name, old, o); d != "" {
		wrong = append(wrong, "DIFFERS: "+d)
	}
	if len(wrong) == 0 {
		return "same"
	}
	m.different++
	return strings.Join(wrong, "; ")
}

func load(path string) (*recording, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r := &recording{}
	if err := json.Unmarshal(raw, r); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

func (r *recording) save(path string) error {
	raw, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(raw, '\n'), 0o666)
}

// cpuName is the processor as Linux tells it.
func cpuName() string {
	raw, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	_, name, _ := strings.Cut(string(raw), "model name")
	name, _, _ = strings.Cut(strings.TrimLeft(name, "\t: "), "\n")
	return name
}
