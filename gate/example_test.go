package gate_test

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/imagegate/imagegate/gate"
	"github.com/imagegate/imagegate/gate/vulndb"
	"github.com/imagegate/imagegate/policy"
)

// Check an image in a staging registry. A denial is a value. An error means that no decision was
// made.
func Example() {
	ctx := context.Background()
	p, err := policy.Parse("policy.yaml", []byte("version: 1\nrules: [{name: no critical, severity: critical}]\n"))
	if err != nil {
		fmt.Println(err)
		return
	}
	db, err := vulndb.Open(ctx, "cache/db")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer db.Close()
	g, err := gate.New(gate.Options{Policies: policy.Set{p}, Database: db, TempDir: os.TempDir(), Now: time.Now,
		Tool: gate.Tool{Name: "example", URI: "https://example.com/gate"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	src, err := gate.ParseSource("staging.example/team/app:1.4")
	if err != nil {
		fmt.Println(err)
		return
	}
	result, err := g.Check(ctx, src, gate.ExternalEvidence{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer result.Close()
	if result.Approval == nil {
		fmt.Println("denied:", len(result.Decision.Violations), "violations")
	}
}
