package gate

import (
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

func TestBaseLayers(t *testing.T) {
	layer := func(by string) v1.History { return v1.History{CreatedBy: by} }
	empty := func(by string) v1.History { return v1.History{CreatedBy: by, EmptyLayer: true} }
	for _, c := range []struct {
		name    string
		history []v1.History
		layers  int
		want    int
	}{
		{"none", nil, 0, 0},
		{"only own layers", []v1.History{layer("COPY app /"), empty("CMD [\"/app\"]")}, 1, 0},
		{"old builder", []v1.History{layer("/bin/sh -c #(nop) ADD file:1 in / "), empty("/bin/sh -c #(nop)  CMD [\"bash\"]"), layer("/bin/sh -c #(nop) COPY dir:2 in /"), empty("/bin/sh -c #(nop)  CMD [\"/app\"]")}, 2, 1},
		{"BuildKit", []v1.History{layer("# debian.sh"), empty("CMD [\"bash\"]"), empty("ENV A=b"), layer("RUN apt-get install -y curl # buildkit"), empty("ENTRYPOINT [\"/app\"]")}, 2, 1},
		{"a base image on a base image", []v1.History{layer("ADD"), empty("CMD [\"bash\"]"), layer("RUN"), empty("CMD [\"node\"]"), layer("COPY")}, 3, 2},
		{"a command that only begins like CMD", []v1.History{layer("ADD"), empty("CMDS"), layer("COPY")}, 2, 0},
		{"another number of layers", []v1.History{layer("ADD"), empty("CMD [\"bash\"]"), layer("COPY")}, 3, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := baseLayers(c.history, c.layers); got != c.want {
				t.Errorf("%d layers, want %d", got, c.want)
			}
		})
	}
}
