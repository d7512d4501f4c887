// Command matrix runs the same short trainings with two builds of gimbal, and reports whether anything changed that a
// change of structure must not change: numbers, codes and actions of the log, weights, moments, marks, the checkpoints
// that are kept, exit codes, and what eval and why print. It uses the command line alone, because the packages behind
// it are what changes.
//
//	go -C bench run ./matrix                                     the merge base with main against the work tree
//	go -C bench run ./matrix -before v1 -after none -save v1.json   record one side
//	go -C bench run ./matrix -against v1.json                    the recorded side against the work tree
//
// The texts of the runs stay in the folder for temporary files, under a name that is made of their content: a run that
// was recorded finds them there when it goes on.
package main

import (
	"context"
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
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
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
	fs.StringVar(&o.before, "before", "", "commit or directory before the change (default: merge base of HEAD and main)")
	fs.StringVar(&o.after, "after", "", "commit or directory after it; none: record only (default: the work tree)")
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
	m := matrix{opt: opt, w: w}
	if m.root, err = os.MkdirTemp("", "matrix-"); err != nil {
		return err
	}
	if opt.keep {
		fmt.Fprintf(w, "the runs are kept in %s\n", m.root)
	} else {
		defer os.RemoveAll(m.root)
	}
	if m.texts, err = writeTexts(os.TempDir()); err != nil {
		return err
	}
	before, err := m.before(ctx)
	if err != nil || opt.after == "none" {
		return err
	}
	if before.CPU != cpuName() || before.Go != runtime.Version() {
		fmt.Fprintf(w, "note: recorded with %s on %q, this is %s on %q\n", before.Go, before.CPU, runtime.Version(),
			cpuName())
	}
	printIgnored(w)
	if _, err = m.record(ctx, "after", opt.after, before); err != nil {
		return err
	}
	switch {
	case m.compared == 0:
		return errors.New("nothing was compared")
	case m.different > 0:
		return fmt.Errorf("%d of %d runs differ", m.different, m.compared)
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

// before reads the side before from its file, or records it, and saves it where that is asked for.
func (m *matrix) before(ctx context.Context) (r *recording, err error) {
	if m.opt.against != "" {
		r, err = load(m.opt.against)
	} else {
		r, err = m.record(ctx, "before", m.opt.before, nil)
	}
	if err == nil && m.opt.save != "" {
		err = r.save(m.opt.save)
	}
	return r, err
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
	r := &recording{Commit: b.commit, Go: runtime.Version(), CPU: cpuName(), Tiers: m.opt.tiers}
	if r.Tiers == nil {
		if r.Tiers, err = b.tiers(ctx); err != nil {
			return nil, err
		}
	}
	missing := slices.DeleteFunc(slices.Clone(tierNames), func(t string) bool { return slices.Contains(r.Tiers, t) })
	fmt.Fprintf(m.w, "%s: %s; tiers %s; not run: %s\n", name, b.commit, strings.Join(r.Tiers, ", "),
		strings.Join(missing, ", "))
	fmt.Fprintf(m.w, "%-8s %-44s %7s %6s %5s %6s\n", "tier", "run", "records", "hashes", "JSON", "s")
	for i, tier := range r.Tiers {
		p := place{binaries: b, tier: tier, root: folder, texts: m.texts, keep: m.opt.keep}
		for _, s := range scenarios() {
			if i > 0 && !s.light || !m.opt.only.MatchString(s.name) {
				continue
			}
			old, known := with.result(tier, s.name)
			o, err := p.run(ctx, s, old.Begun)
			if err != nil {
				return nil, err
			}
			r.put(tier, s.name, o)
			wrong := r.against(tier, s)
			switch {
			case with == nil:
			case !known:
				wrong = append(wrong, "not recorded before")
			default:
				m.compared++
				if s.cut {
					old, o = old.core(), o.core()
				}
				if d := compare(s.name, old, o); d != "" {
					wrong = append(wrong, "DIFFERS: "+d)
				}
			}
			verdict := strings.Join(o.Exits, ", ")
			if len(wrong) > 0 {
				m.different++
				verdict = strings.Join(wrong, "; ")
			} else if with != nil {
				verdict = "same"
			}
			fmt.Fprintf(m.w, "%-8s %-44s %7d %6d %5d %6.1f  %s\n", tier, s.name, len(o.Records), len(o.Hashes),
				len(o.Documents), o.Seconds, verdict)
		}
	}
	return r, nil
}
