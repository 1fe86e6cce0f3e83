package cli

import (
	"bytes"
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/imagegate/imagegate/internal/cli/exit"
	"github.com/imagegate/imagegate/internal/reference"
	"github.com/imagegate/imagegate/internal/report"
	"github.com/imagegate/imagegate/policy/format"
)

func policyPrintCommand(s Streams) *cli.Command {
	return &cli.Command{
		Name:  "print",
		Usage: "print policies, also as they apply to one repository",
		Description: "Prints each policy without comments and default values, and with the exceptions of its exception\n" +
			"files. Does not read an image.",
		Flags: []cli.Flag{policyFlag,
			&cli.StringFlag{Name: "image", Usage: "print the policies as they apply to images in `REPOSITORY`, with the matching scopes merged in"}},
		Action: func(c *cli.Context) error { return runPolicyPrint(c, s) },
	}
}

func runPolicyPrint(c *cli.Context, s Streams) error {
	if _, err := arguments(c, 0, 0, "no arguments"); err != nil {
		return err
	}
	policies, err := loadPolicies(c)
	if err != nil {
		return err
	}
	repository := ""
	if image := c.String("image"); image != "" {
		// check compares this same canonical name with the image patterns of the policies.
		src, err := reference.Source(image)
		if err != nil {
			return exit.Usage(err)
		}
		repository = src.Repository()
	}
	var out bytes.Buffer
	for i, p := range policies {
		if i > 0 {
			fmt.Fprintln(&out, "---")
		}
		comment := "# " + report.Sanitize(p.File)
		if repository != "" {
			p = p.ForImage(repository)
			comment += ", for " + report.Sanitize(repository)
		}
		text, err := format.Policy(p)
		if err != nil {
			return err
		}
		fmt.Fprintln(&out, comment)
		out.Write(text)
	}
	_, err = s.Out.Write(out.Bytes())
	return err
}
