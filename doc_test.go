package gimbal

import (
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"os"
	"strings"
	"testing"
)

// TestAPI reads the package as a user of it does: every type is its own, every name and every field is documented, and
// no internal package shows.
func TestAPI(t *testing.T) {
	fset := token.NewFileSet()
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	var files []*ast.File
	for _, e := range entries {
		if name := e.Name(); strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go") {
			f, err := parser.ParseFile(fset, name, nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, f)
		}
	}
	p, err := doc.NewFromFiles(fset, files, "gimbal")
	if err != nil {
		t.Fatal(err)
	}
	a := &api{t, fset}
	a.funcs(p.Funcs)
	a.values(p.Consts)
	a.values(p.Vars)
	fields := 0
	for _, typ := range p.Types {
		if typ.Doc == "" {
			t.Errorf("%s is not documented", typ.Name)
		}
		a.funcs(typ.Funcs)
		a.funcs(typ.Methods)
		a.values(typ.Consts)
		spec := typ.Decl.Specs[0].(*ast.TypeSpec)
		if spec.Assign.IsValid() {
			t.Errorf("%s is an alias", typ.Name)
		}
		a.own(typ.Name, spec.Type)
		if s, ok := spec.Type.(*ast.StructType); ok {
			for _, f := range s.Fields.List {
				fields++
				if f.Doc.Text()+f.Comment.Text() == "" {
					t.Errorf("%s: %s.%s is not documented", fset.Position(f.Pos()), typ.Name, f.Names)
				}
			}
		}
	}
	if fields < 100 {
		t.Errorf("found %d fields only: the test says nothing", fields)
	}
}

// api checks the declarations of a package.
type api struct {
	*testing.T
	fset *token.FileSet
}

func (a *api) funcs(list []*doc.Func) {
	for _, f := range list {
		known := f.Name == "Error" || f.Name == "Unwrap"
		if f.Doc == "" && !known {
			a.Errorf("%s%s is not documented", f.Recv, f.Name)
		}
		a.own(f.Name, f.Decl.Type)
	}
}

func (a *api) values(list []*doc.Value) {
	for _, v := range list {
		if v.Doc == "" {
			a.Errorf("%v are not documented", v.Names)
		}
	}
}

// own wants a type to name no internal package.
func (a *api) own(name string, expr ast.Node) {
	ast.Inspect(expr, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			switch pkg := sel.X.(*ast.Ident).Name; pkg {
			case "context", "iter", "time":
			default:
				a.Errorf("%s: %s shows %s.%s", a.fset.Position(n.Pos()), name, pkg, sel.Sel.Name)
			}
		}
		return true
	})
}
