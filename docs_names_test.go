package gimbal_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gimbal/internal/config"
)

// TestPagesNameWhatExists keeps functions, files and tests that the pages name true.
func TestPagesNameWhatExists(t *testing.T) {
	n := readNames(t)
	for path, text := range pages(t) {
		if isReport(path) {
			continue
		}
		for _, name := range n.missing(text) {
			t.Errorf("%s names %s, which does not exist", path, name)
		}
	}
	planted := "`guard.Next`, `guard.Nexx`, `train.run.step`, `train.run.stap`, `nn/head.go`, `nn/hat.go`, `TestLattice`, " +
		"`TestNothing`, `train.steps=5`, `train.stips`, `model.safetensors`\n```\ndata.Split.Read data.Split.Reed\n```\n"
	want := []string{"data.Split.Reed", "guard.Nexx", "train.run.stap", "nn/hat.go", "TestNothing", "train.stips"}
	if got := n.missing(planted); !slices.Equal(got, want) {
		t.Errorf("in a page with six mistakes %q were found, want %q", got, want)
	}
}

// names are what a page may name.
type names struct {
	packages map[string]bool // last elements of import paths; main is cmd/gimbal
	declared map[string]bool // package.Name and package.Type.Member
	tests    map[string]bool
	files    map[string]bool // source files by path, by path below internal/, and by base name
	keys     map[string]bool // of the configuration
}

func readNames(t *testing.T) *names {
	t.Helper()
	n := &names{map[string]bool{"gimbal": true}, map[string]bool{}, map[string]bool{}, map[string]bool{},
		map[string]bool{}}
	for _, key := range config.Keys() {
		n.keys[key] = true
	}
	n.keys["judge.average"] = true // removed; old runs have it
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		ext := filepath.Ext(path)
		if err != nil || d.IsDir() || !slices.Contains([]string{".go", ".s", ".h", ".py"}, ext) {
			return err
		}
		path = filepath.ToSlash(path)
		for _, name := range []string{path, strings.TrimPrefix(path, "internal/"), filepath.Base(path)} {
			n.files[name] = true
		}
		if ext != ".go" {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err == nil {
			n.read(f, strings.HasSuffix(path, "_test.go"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// read takes the declarations of a file; of a test file only the tests.
func (n *names) read(f *ast.File, test bool) {
	pkg := f.Name.Name
	declare := func(path ...string) { n.declared[pkg+"."+strings.Join(path, ".")] = true }
	if !test {
		n.packages[pkg] = true
	}
	for _, decl := range f.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			switch {
			case test:
				n.tests[d.Name.Name] = true
			case d.Recv == nil:
				declare(d.Name.Name)
			default:
				declare(receiver(d.Recv.List[0].Type), d.Name.Name)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch s := spec.(type) {
				case *ast.ValueSpec:
					for _, name := range s.Names {
						declare(name.Name)
					}
				case *ast.TypeSpec:
					declare(s.Name.Name)
					for _, member := range members(s.Type) {
						declare(s.Name.Name, member)
					}
				}
			}
		}
	}
}

func receiver(e ast.Expr) string {
	switch x := e.(type) {
	case *ast.StarExpr:
		return receiver(x.X)
	case *ast.IndexExpr:
		return receiver(x.X)
	case *ast.Ident:
		return x.Name
	}
	return ""
}

func members(e ast.Expr) (list []string) {
	var fields *ast.FieldList
	switch x := e.(type) {
	case *ast.StructType:
		fields = x.Fields
	case *ast.InterfaceType:
		fields = x.Methods
	default:
		return nil
	}
	for _, f := range fields.List {
		for _, name := range f.Names {
			list = append(list, name.Name)
		}
	}
	return list
}

var (
	codeSpan  = regexp.MustCompile("`([^`\n]+)`")
	qualified = regexp.MustCompile(`^[a-z]\w*(\.\w+)+$`)
	inFence   = regexp.MustCompile(`\b[a-z]\w*\.[A-Z]\w*(\.[A-Z]\w*)*`)
	testName  = regexp.MustCompile(`^(Test|Fuzz|Benchmark)[A-Z]\w*$`)
	userFile  = regexp.MustCompile(`\.(json|jsonl|toml|safetensors|txt|md|bin|jinja|old)$`)
)

// missing returns what a page names and does not exist: in blocks of code, then in spans of code.
func (n *names) missing(page string) (list []string) {
	for i, part := range strings.Split(page, "```") {
		if i%2 == 1 {
			for _, name := range inFence.FindAllString(part, -1) {
				if pkg, _, _ := strings.Cut(name, "."); n.packages[pkg] && !n.declared[name] {
					list = append(list, name)
				}
			}
		}
	}
	for i, part := range strings.Split(page, "```") {
		if i%2 == 1 {
			continue
		}
		for _, m := range codeSpan.FindAllStringSubmatch(part, -1) {
			name := strings.FieldsFunc(m[1]+" ", func(r rune) bool { return strings.ContainsRune("(=, ", r) })
			if len(name) > 0 && !n.exists(name[0]) {
				list = append(list, name[0])
			}
		}
	}
	return list
}

// exists is true for everything that is no name of code.
func (n *names) exists(name string) bool {
	pkg, _, _ := strings.Cut(name, ".")
	switch ext := filepath.Ext(name); {
	case testName.MatchString(name):
		return n.tests[name]
	case strings.ContainsAny(name, "*<>…") || userFile.MatchString(name):
		return true
	case ext == ".go" || ext == ".s" || ext == ".h" || ext == ".py":
		return n.files[name]
	case qualified.MatchString(name) && n.packages[pkg]:
		return n.declared[name] || n.keys[name]
	}
	return true
}
