package tokenizer
import ("testing";"context";"os";"strings";"time";"bytes";"math/rand/v2")
func TestZZ(t *testing.T){
 tok,r,err:=TrainBPE(context.Background(),docsOf(goSource()...),TrainOptions{VocabSize:4096+257}); if err!=nil{t.Fatal(err)}
 t.Logf("%+v",r)
 var l []string; for _,m:=range tok.merges{ l=append(l,tok.name(m.a)+" "+tok.name(m.b)) }
 want,_:=os.ReadFile("/tmp/tok/go4096.merges")
 w:=strings.Split(string(want),"\n")
 for i:=range w { if i>=len(l)||w[i]!=l[i]{ t.Errorf("merge %d %q vs %q",i,l[i],w[i]); break } }
 n:=0; for _,d:=range goSource(){ ids,_:=tok.Append(nil,d); n+=len(ids)}; t.Log(len(l),len(w),"tokens",n)
 j,_:=tok.JSON(); os.WriteFile("/tmp/tok/go.json",j,0o644)
 g:=sharedTokenizer(t,"gpt2")
 rb:=make([]byte,1e6); for i:=range rb{rb[i]=byte(rand.Uint32())}
 let:=make([]byte,1e6); for i:=range let{let[i]="abcdefghijklmnopqrstuvwxyz"[rand.IntN(26)]}
 acgt:=make([]byte,1e6); for i:=range acgt{acgt[i]="acgt"[rand.IntN(4)]}
 for _,c:=range []struct{n string;b []byte}{{"a",bytes.Repeat([]byte("a"),1e6)},{"a2",bytes.Repeat([]byte("a"),2e6)},{"space",bytes.Repeat([]byte(" "),1e6)},{"nl",bytes.Repeat([]byte("\n"),1e6)},{"digit",bytes.Repeat([]byte("7"),1e6)},{"cjk",bytes.Repeat([]byte("中文字"),333333)},{"random",rb},{"letters",let},{"acgt",acgt},{"-",bytes.Repeat([]byte("-"),1e6)},{"quote",bytes.Repeat([]byte("'"),1e6)},{" nl",bytes.Repeat([]byte("\n  "),333333)},{"nlspaces",append([]byte("\n"),bytes.Repeat([]byte(" "),1e6)...)}} {
  for _,k:=range []*Tokenizer{tok,g}{ t0:=time.Now(); ids,_:=k.Append(nil,c.b); d:=time.Since(t0)
   e:=k.NewEncoder(); t1:=time.Now(); var st []int32; for i:=0;i<len(c.b);i+=7 { st,_=e.Write(st,c.b[i:min(i+7,len(c.b))]) }; st,_=e.Flush(st)
   t.Log(c.n,len(ids),d,"stream7",time.Since(t1),len(st)) }
 }
}
