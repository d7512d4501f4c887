package main

import (
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"gimbal/internal/data"
	"gimbal/internal/hub"
	"gimbal/internal/plan"
	"gimbal/internal/rundir"
	"gimbal/internal/runlog"
	"gimbal/internal/runs"
	"gimbal/internal/screen"
	"gimbal/internal/shards"
)

type dataCmd struct {
	Inspect inspectCmd `cmd:"" help:"Show a batch as text, with what counts in the loss."`
	Stats   statsCmd   `cmd:"" help:"Count a text: documents, tokens, lengths, copies, overlap."`
	Cache   cacheCmd   `cmd:"" help:"List the token caches, or remove old ones."`
}

// dataFlags are those of train that decide what is read and how.
type dataFlags struct {
	Config string `help:"Configuration file (TOML)." type:"path" placeholder:"FILE"`
	settings
	From string `help:"Run or checkpoint whose tokenizer reads the text." placeholder:"CHECKPOINT"`
}

// open prepares the text that the flags describe. The caller closes it.
func (f *dataFlags) open(e *env) (*plan.Draft, error) {
	cfg, err := f.load(f.Config)
	if err != nil {
		return nil, err
	}
	opt := plan.TextOptions{Little: true, Note: e.progress.Detailf}
	if f.From != "" {
		if opt.Model, err = hub.OpenModel(f.From, ""); err != nil {
			return nil, err
		}
		defer opt.Model.Close()
	}
	draft, err := plan.OpenText(e.ctx, cfg, opt)
	e.progress.End()
	if err != nil {
		return nil, err
	}
	for _, note := range draft.Notes {
		e.progress.Notef("%s", note)
	}
	for _, ev := range draft.Text.Set.Events {
		e.progress.Notef("%s: %s", ev.Code, ev.Text)
	}
	for _, f := range draft.Text.Findings() {
		e.progress.Notef("%s", strings.TrimSuffix("P-DATA: "+f.Text+"; "+f.Advice, "; "))
	}
	return draft, nil
}

type inspectCmd struct {
	Run_ string `arg:"" optional:"" name:"run" help:"Run whose batches to show. Default: that of the flags."`
	dataFlags
	Batch     int64  `default:"1" help:"Batch to show, from 1, as the log of a run counts them." placeholder:"N"`
	Sequences int    `short:"n" default:"8" help:"Sequences to show; 0: all."`
	IDs       bool   `name:"ids" help:"Show a line for each token: its id, a star if it counts, its text."`
	Color     string `enum:"auto,always,never" default:"auto" help:"Colours instead of marks; auto: on a terminal."`
}

func (c *inspectCmd) Run(e *env) (err error) {
	switch {
	case c.Batch < 1:
		return usageError(fmt.Sprintf("--batch %d: the first is 1", c.Batch))
	case c.Sequences < 0:
		return usageError(fmt.Sprintf("-n %d: 0 shows all", c.Sequences))
	}
	var left leftOut
	var draft *plan.Draft
	if c.Run_ == "" {
		draft, err = c.open(e)
	} else if c.given() || c.Config != "" || c.From != "" {
		return usageError("a run is shown as it is: --config, --data, --set, --steps, --seed and --from are for a new run")
	} else {
		draft, left, err = openRun(e, c.Run_)
	}
	if err != nil {
		return err
	}
	defer draft.Close()
	defer data.CatchShrunk(debug.SetPanicOnFault(true), &err)
	cfg, text := draft.Config, draft.Text
	loader, err := data.NewLoader(text.Train, cfg.Train.Seed, cfg.Train.BatchTokens)
	if err != nil {
		return err
	}
	var b data.Batch
	var cur data.Cursor
	loader.Skip = left.skip
	for cur.Batch < c.Batch {
		if err := e.ctx.Err(); err != nil {
			return err
		}
		left.after(cur.Batch, &b)
		cur = loader.Next(&b, cur)
	}
	marks, out := data.PlainMarks, io.Writer(e.stdout)
	if coloured(c.Color, e.stdout) {
		marks, out = data.ColourMarks, e.stdout.InColours()
	}
	shown := len(b.Spans)
	if c.Sequences > 0 {
		shown = min(shown, c.Sequences)
	}
	fmt.Fprintf(e.stdout, "batch %d: %s of %s, %d of them counted\n", c.Batch, runs.Plural(len(b.Spans), "sequence"),
		runs.Plural(len(b.Tokens), "token"), b.Counted)
	fmt.Fprintf(out, "legend: %sdoes not count%s %sspecial token%s %sinput only, or where a document is cut%s\n\n",
		marks.Ignored[0], marks.Ignored[1], marks.Special[0], marks.Special[1], marks.Start[0], marks.Start[1])
	show := text.Set.Show
	if c.IDs {
		show = text.Set.ShowIDs
	}
	if err := show(out, &b, 0, shown, marks); err != nil {
		return err
	}
	if rest := len(b.Spans) - shown; rest > 0 {
		fmt.Fprintf(e.stdout, "and %d more (-n 0 shows all)\n", rest)
	}
	if note := text.Set.Chat().Note; note != "" {
		e.progress.Notef("%s", note)
	}
	return nil
}

// openRun prepares the text of a run, and reads what it left out. The caller closes the draft.
func openRun(e *env, name string) (*plan.Draft, leftOut, error) {
	left := leftOut{refused: map[int64]bool{}, now: map[rundir.Sequence]bool{}}
	dir, err := rundir.Find(name)
	if err == nil && dir == "" {
		err = fmt.Errorf("%w: %s is no run", rundir.ErrCheckpoint, name)
	}
	if err != nil {
		return nil, left, err
	}
	cfg, err := rundir.Config(dir)
	if err != nil {
		return nil, left, err
	}
	if moved := rundir.Moved(dir, cfg.Data.Paths); moved != nil {
		cfg.Data.Paths = moved
	}
	ck, _, err := rundir.Newest(dir)
	if err != nil {
		return nil, left, err
	}
	m, err := hub.ModelOf(ck)
	if err != nil {
		return nil, left, err
	}
	defer m.Close()
	facts, err := rundir.Verify(dir, ck)
	if err != nil {
		return nil, left, err
	}
	log, err := rundir.Log(dir)
	if err != nil {
		return nil, left, err
	}
	left.list = facts.Quarantine
	for _, r := range runlog.All[runlog.Refused](log.Effective()) {
		left.refused[r.Batch] = true
	}
	draft, err := plan.OpenText(e.ctx, cfg, plan.TextOptions{Model: m, Hash: facts.DataHash, Little: true, Out: dir,
		Note: e.progress.Detailf})
	e.progress.End()
	return draft, left, err
}

// leftOut is the sequences that a run left out from some batch on. The batch was refused, and held them.
type leftOut struct {
	list    []rundir.Sequence
	refused map[int64]bool           // batches
	now     map[rundir.Sequence]bool // left out so far
}

func (l leftOut) skip(s data.Span) bool {
	return l.now[rundir.Sequence{Source: s.Doc.Source, Offset: s.Doc.Offset, First: s.First}]
}

// after leaves out what was left out because of a batch.
func (l leftOut) after(batch int64, b *data.Batch) {
	if !l.refused[batch] {
		return
	}
	for _, s := range b.Spans {
		q := rundir.Sequence{Source: s.Doc.Source, Offset: s.Doc.Offset, First: s.First}
		if slices.Contains(l.list, q) {
			l.now[q] = true
		}
	}
}

// coloured decides whether what is written to w has colours.
func coloured(choice string, w io.Writer) bool {
	if choice != "auto" {
		return choice == "always"
	}
	return screen.Terminal(w) != nil && os.Getenv("NO_COLOR") == ""
}

// Help implements kong.HelpProvider.
func (*statsCmd) Help() string {
	return `Counts the text as "gimbal train" would read it, with the same flags: documents, tokens, their lengths, copies,
overlap of the training and the validation part, and tokens of the vocabulary that never occur. It looks at the text
alone: "gimbal doctor" checks a run, "gimbal train --dry-run" prints its plan.`
}

type statsCmd struct {
	dataFlags
	JSON bool `name:"json" help:"Print the counts as JSON."`
}

func (c *statsCmd) Run(e *env) (err error) {
	draft, err := c.open(e)
	if err != nil {
		return err
	}
	defer draft.Close()
	defer data.CatchShrunk(debug.SetPanicOnFault(true), &err)
	stats, err := draft.Text.Set.Stats(draft.Config.Train.Context)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.stdout, stats)
	}
	_, err = fmt.Fprintln(e.stdout, stats)
	return err
}

type cacheCmd struct {
	Remove *int `help:"Remove caches not used for N days; 0: all. They are made again when needed." placeholder:"N"`
	JSON   bool `name:"json" help:"Print the list as JSON."`
}

func (c *cacheCmd) Run(e *env) error {
	if c.Remove != nil && *c.Remove < 0 {
		return usageError(fmt.Sprintf("--remove %d: days, from 0 up", *c.Remove))
	}
	list, err := shards.Caches("")
	if err != nil {
		return err
	}
	var kept []shards.Cache
	var freed, total int64
	for _, cache := range list {
		if c.Remove != nil && time.Since(cache.Used).Hours() >= 24*float64(*c.Remove) && !cache.Busy() {
			if err := cache.Remove(); err != nil {
				return err
			}
			freed += cache.Bytes
			continue
		}
		total += cache.Bytes
		kept = append(kept, cache)
	}
	if c.Remove != nil {
		e.progress.Notef("removed %s of %s", runs.Plural(len(list)-len(kept), "cache"), runs.Size(freed))
	}
	if c.JSON {
		return printJSON(e.stdout, kept)
	}
	for _, cache := range kept {
		what := runs.Plural(cache.Documents, "document") + ", " + runs.Plural(cache.Tokens, "token")
		if cache.Broken != "" {
			what = "will be made again: " + cache.Broken
		}
		fmt.Fprintf(e.stdout, "%s  %6d MB  used %s  %s\n", cache.Dir, (cache.Bytes+5e5)/1e6,
			cache.Used.Format("2006-01-02 15:04"), what)
	}
	_, err = fmt.Fprintf(e.stdout, "%s, %d MB, in %s\n", runs.Plural(len(kept), "cache"), (total+5e5)/1e6,
		shards.DefaultDir())
	return err
}
