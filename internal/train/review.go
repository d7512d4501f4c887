package train

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"gimbal/internal/durable"
	"gimbal/internal/judge"
)

// Page is the texts of one evaluation of a run, as a person reviews them.
type Page struct {
	Name     string          `json:"name"` // file below the run directory
	Sections []judge.Section `json:"sections"`

	dir string
	raw []byte
}

// OpenPage reads the texts of an evaluation of a run, worst first; 0 is the newest.
func OpenPage(dir string, evaluation int) (*Page, error) {
	n, err := newestPage(durable.OS, dir)
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, fmt.Errorf("%w: %s holds no texts yet: they are written at a run's evaluations", ErrCheckpoint, dir)
	}
	if evaluation == 0 {
		evaluation = n
	}
	p := &Page{Name: filepath.Join(samplesName, pageName(evaluation)), dir: dir}
	if p.raw, err = durable.ReadFile(durable.OS, filepath.Join(dir, p.Name), maxPage); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%w: %s has no evaluation %d; the newest is %d", ErrCheckpoint, dir, evaluation, n)
		}
		return nil, err
	}
	p.Sections = judge.ReadPage(p.raw)
	return p, nil
}

const maxPage = 64 << 20 // bytes

// newestPage is the number of the newest evaluation that has a page; 0: none.
func newestPage(fsys durable.FS, dir string) (newest int, err error) {
	entries, err := fsys.ReadDir(filepath.Join(dir, samplesName))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("train: list the samples: %w", err)
	}
	for _, e := range entries {
		n := 0
		if _, err := fmt.Sscanf(e.Name(), "eval-%d.md", &n); err == nil && e.Name() == pageName(n) {
			newest = max(newest, n)
		}
	}
	return newest, nil
}

// lookedAt counts what people said of the newest texts; name is empty where there are none.
func lookedAt(fsys durable.FS, dir string) (l judge.Looked, name string, err error) {
	n, err := newestPage(fsys, dir)
	if err != nil || n == 0 {
		return l, "", err
	}
	raw, err := durable.ReadFile(fsys, filepath.Join(dir, samplesName, pageName(n)), maxPage)
	if err != nil {
		return l, "", err
	}
	return judge.Look(raw), pageName(n), nil
}

// Mark sets the marks of one text and saves the page at once.
func (p *Page) Mark(section int, marks []string) error {
	p.raw = judge.Tick(p.raw, section, marks)
	p.Sections = judge.ReadPage(p.raw)
	return durable.WriteFile(durable.OS, filepath.Join(p.dir, p.Name), p.raw)
}

// Looked counts the marks of the page.
func (p *Page) Looked() judge.Looked { return judge.Look(p.raw) }

// Report brings what the run's report says of the human check up to date, where there is a report.
func (p *Page) Report() error {
	name := filepath.Join(p.dir, reportName)
	raw, err := durable.ReadFile(durable.OS, name, maxPage)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the run has not ended yet: its report will say it
	}
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(raw), "\n"+humanCheck+"\n")
	if !ok {
		return fmt.Errorf("train: %s has no section %q to bring up to date", name, humanCheck)
	}
	var b strings.Builder
	b.WriteString(before)
	if err := writeHumanCheck(&b, durable.OS, p.dir); err != nil {
		return err
	}
	if i := strings.Index(rest, "\n## "); i >= 0 {
		b.WriteString(rest[i:])
	}
	return durable.WriteFile(durable.OS, name, []byte(b.String()))
}
