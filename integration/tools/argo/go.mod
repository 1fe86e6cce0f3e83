// The JSON Schema of Argo Workflows, in api/jsonschema/schema.json of its module. "go mod download"
// reads only this module, because no package of it is built.
module github.com/imagegate/imagegate/integration/tools/argo

go 1.26.3

require github.com/argoproj/argo-workflows/v4 v4.0.5
