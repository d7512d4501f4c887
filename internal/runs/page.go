package runs

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"gimbal/internal/durable"
	"gimbal/internal/judge"
	"gimbal/internal/rundir"
)

// Page is the texts of one evaluation of a run, for a person to review.
type Page struct {
	Name     string          `json:"name"` // file below the run directory
	Sections []judge.Section `json:"sections"`

	dir string
	raw []byte
}

const maxPage = 64 << 20 // bytes

// OpenPage reads the texts of an evaluation of the run that a person names, worst first; 0 is the newest.
func OpenPage(name string, evaluation int) (*Page, error) {
	dir, err := find(name)
	if err != nil {
		return nil, err
	}
	entries, err := durable.Inside(dir).ReadDir(filepath.Join(dir, rundir.Samples))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, unreadablef("list the texts of %s: %w", dir, err)
	}
	n := newestPage(entries)
	if n == 0 {
		return nil, unreadablef("%s has no texts yet: a run writes them at its evaluations", dir)
	}
	if evaluation == 0 {
		evaluation = n
	}
	p := &Page{Name: filepath.Join(rundir.Samples, rundir.PageName(evaluation)), dir: dir}
	p.raw, err = rundir.Read(dir, p.Name, maxPage)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, unreadablef("%s has no evaluation %d; the newest is %d", dir, evaluation, n)
	}
	if err != nil {
		return nil, unreadablef("the texts of %s: %w", dir, err)
	}
	p.Sections = judge.ReadPage(p.raw)
	return p, nil
}

// newestPage is the number of the newest evaluation that has a page; 0: none.
func newestPage(entries []fs.DirEntry) (newest int) {
	for _, e := range entries {
		n := 0
		if _, err := fmt.Sscanf(e.Name(), "eval-%d.md", &n); err == nil && e.Name() == rundir.PageName(n) {
			newest = max(newest, n)
		}
	}
	return newest
}

// Mark sets the marks of one text and saves the page at once.
func (p *Page) Mark(section int, marks []string) error {
	p.raw = judge.Tick(p.raw, section, marks)
	p.Sections = judge.ReadPage(p.raw)
	return durable.WriteFile(durable.Inside(p.dir), filepath.Join(p.dir, p.Name), p.raw)
}

// Looked counts the marks of the page.
func (p *Page) Looked() judge.Looked { return judge.Look(p.raw) }

// Report updates the human check in the run's report, if there is a report.
func (p *Page) Report() error {
	raw, err := rundir.Read(p.dir, rundir.ReportFile, maxPage)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the run has not ended, or it crashed
	}
	name := filepath.Join(p.dir, rundir.ReportFile)
	if err != nil {
		return fmt.Errorf("the report of the run: %s: %w", name, err)
	}
	before, rest, ok := strings.Cut(string(raw), "\n"+humanCheck+"\n")
	if !ok {
		return fmt.Errorf("%s has no section %q to update", name, humanCheck)
	}
	check, err := ReadHumanCheck(durable.Inside(p.dir), p.dir)
	if err != nil {
		return err
	}
	var b strings.Builder
	b.WriteString(before)
	check.write(&b)
	if i := strings.Index(rest, "\n## "); i >= 0 {
		b.WriteString(rest[i:])
	}
	return durable.WriteFile(durable.Inside(p.dir), name, []byte(b.String()))
}

// HumanCheck says whether a person reviewed the newest texts of a run.
type HumanCheck struct {
	Run    string // its name
	Page   string // file of the texts, below the run directory; empty: no texts were written yet
	Looked judge.Looked
}

// ReadHumanCheck reads the marks of the newest texts of the run in dir.
func ReadHumanCheck(fsys durable.FS, dir string) (c HumanCheck, err error) {
	c.Run = filepath.Base(dir)
	entries, err := fsys.ReadDir(filepath.Join(dir, rundir.Samples))
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return c, fmt.Errorf("list the samples: %w", err)
	}
	n := newestPage(entries)
	if n == 0 {
		return c, nil
	}
	c.Page = filepath.Join(rundir.Samples, rundir.PageName(n))
	raw, err := durable.ReadFile(fsys, filepath.Join(dir, c.Page), maxPage)
	if err != nil {
		return c, err
	}
	c.Looked = judge.Look(raw)
	return c, nil
}

const humanCheck = "## Human check"

func (c HumanCheck) write(b *strings.Builder) {
	b.WriteString("\n" + humanCheck + "\n\n")
	if c.Page == "" {
		b.WriteString("Nothing was written yet.\n")
		return
	}
	more := ""
	if c.Looked.Marked == 0 {
		more = fmt.Sprintf(" \"gimbal review %s\" shows them, worst first.", c.Run)
	}
	fmt.Fprintf(b, "%s: %s.%s\n", c.Page, c.Looked, more)
}
