{{/* Refuses what would make no cluster. */}}
{{- define "conclave.validate" -}}
{{- $values := .Values -}}
{{- $_ := required "clusterId is needed: the name of the cluster, on no other cluster" $values.clusterId -}}
{{- $_ := required "publicUrl is needed: the URL under which clients reach the cluster, the first part of `iss`" $values.publicUrl -}}
{{- $_ := required "kek.existingSecret is needed: the secret that holds the key-encryption key" $values.kek.existingSecret -}}
{{- if and $values.kek.vault $values.kek.directory }}{{ fail "kek takes one of directory and vault" }}{{ end -}}
{{- with $values.kek.vault }}{{- $_ := required "kek.vault.address is needed" .address -}}{{- $_ := required "kek.vault.key is needed" .key -}}{{ end -}}
{{- include "conclave.validate.tls" . -}}
{{- include "conclave.validate.messages" . -}}
{{- include "conclave.validate.triggers" . -}}
{{- include "conclave.validate.backup" . -}}
{{- include "conclave.validate.restore" . -}}
{{- include "conclave.validate.routes" . -}}
{{- include "conclave.validate.numbers" . -}}
{{- include "conclave.validate.running" . -}}
{{- range $name, $pdb := dict "pdb" $values.pdb "gateway.pdb" $values.gateway.pdb -}}
{{- if and $pdb.create $pdb.minAvailable $pdb.maxUnavailable -}}
{{- fail (printf "%s takes one of minAvailable and maxUnavailable; set the other to \"\"" $name) -}}
{{- end -}}
{{- end -}}
{{- with $values.gateway.autoscaling -}}
{{- if and .enabled (gt (int .minReplicas) (int .maxReplicas)) -}}
{{- fail "gateway.autoscaling.minReplicas is more than maxReplicas" -}}
{{- end -}}
{{- if and .enabled (not (or .targetCPU .targetMemory .extraMetrics)) -}}
{{- fail "gateway.autoscaling needs one of targetCPU, targetMemory and extraMetrics" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "conclave.validate.tls" -}}
{{- $tls := .Values.internalTls -}}
{{- if $tls.certManager.enabled -}}
{{- if or $tls.existingSecret $tls.existingGatewaySecret $tls.existingAdminSecret -}}
{{- fail "internalTls takes existing secrets or certManager.enabled, not both" -}}
{{- end -}}
{{- else if not $tls.existingSecret -}}
{{- fail "internalTls.existingSecret or internalTls.certManager.enabled is needed: nodes talk to each other with certificates only" -}}
{{- else if and .Values.gateway.enabled (not $tls.existingGatewaySecret) -}}
{{- fail "internalTls.existingGatewaySecret is needed: gateways have a certificate of their own" -}}
{{- end -}}
{{- if and .Values.publicTls.existingSecret .Values.publicTls.certManager.enabled -}}
{{- fail "publicTls takes one of existingSecret and certManager.enabled" -}}
{{- end -}}
{{- if and .Values.publicTls.certManager.enabled (not .Values.publicTls.certManager.issuerRef.name) -}}
{{- fail "publicTls.certManager.issuerRef.name is needed: clients must trust who issues it" -}}
{{- end -}}
{{- if and .Values.admin.command (not (include "conclave.adminTlsSecret" .)) -}}
{{- fail "internalTls.existingAdminSecret is needed for administration" -}}
{{- end -}}
{{- end -}}

{{- define "conclave.validate.backup" -}}
{{- with .Values.backup -}}
{{- if .enabled -}}
{{- $_ := required "backup.destination is needed: s3://BUCKET/PREFIX" .destination -}}
{{- if not .recipients -}}
{{- fail "backup.recipients is needed: age recipients, which conclave backup keygen prints" -}}
{{- end -}}
{{- if not (include "conclave.adminTlsSecret" $) -}}
{{- fail "internalTls.existingAdminSecret is needed for backups" -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "conclave.validate.messages" -}}
{{- with .Values.email -}}
{{- if .host -}}
{{- $_ := required "email.from is needed" .from -}}
{{- if and (or .username .existingSecretCaKey) (not .existingSecret) -}}
{{- fail "email.existingSecret is needed: it holds what username and existingSecretCaKey name" -}}
{{- end -}}
{{- if and .username (eq .security "none") -}}
{{- fail "email: a password is not sent without encryption" -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- with .Values.sms -}}
{{- if .gateway -}}
{{- $_ := required "sms.url is needed" .url -}}
{{- $_ := required "sms.existingSecret is needed: the secret with the token" .existingSecret -}}
{{- if eq .gateway "twilio" -}}
{{- $_ := required "sms.account is needed for twilio" .account -}}
{{- $_ := required "sms.from is needed for twilio" .from -}}
{{- else if eq .gateway "sns" -}}
{{- $_ := required "sms.account is needed for sns: the id of an access key" .account -}}
{{- $_ := required "sms.region is needed for sns" .region -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "conclave.validate.triggers" -}}
{{- if include "conclave.triggers" . -}}
{{- with .Values.triggers -}}
{{- $_ := required "triggers.existingSecret is needed: the secret with what signs calls" .existingSecret -}}
{{- if gt (mul .timeoutSeconds .tries) 60 -}}
{{- fail "triggers.timeoutSeconds times triggers.tries is more than a minute" -}}
{{- end -}}
{{- range $name, $of := dict "lambda" .lambda "kms" .kms -}}
{{- if $of -}}
{{- range $needed := list "endpoint" "region" "accessKeyId" "existingSecretKey" (ternary "functions" "keys" (eq $name "lambda")) -}}
{{- $_ := required (printf "triggers.%s.%s is needed" $name $needed) (index $of $needed) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "conclave.validate.routes" -}}
{{- if and .Values.ingress.enabled (not .Values.ingress.hostname) -}}
{{- fail "ingress.hostname is needed" -}}
{{- end -}}
{{- range $name, $route := dict "httpRoute" .Values.httpRoute "grpcRoute" .Values.grpcRoute -}}
{{- if and $route.enabled (not $route.parentRefs) -}}
{{- fail (printf "%s.parentRefs is needed: the gateways that it belongs to" $name) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.grpcRoute.enabled .Values.httpRoute.enabled -}}
{{- $own := list (include "conclave.publicHost" .) -}}
{{- range default $own .Values.grpcRoute.hostnames -}}
{{- if has . (default $own $.Values.httpRoute.hostnames) -}}
{{- fail (printf "%s is in httpRoute and grpcRoute: a host has one kind of route" .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "conclave.validate.numbers" -}}
{{- $numbers := dict -}}
{{- $until := max (int .Values.replicaCount) (int .Values.initialNodes) -}}
{{- range $ordinal := until (int $until) -}}
{{- $number := include "conclave.nodeNumber" (list $ $ordinal) -}}
{{- if hasKey $numbers $number -}}
{{- fail (printf "nodeNumbers: the pods %s and %d are both node %s" (get $numbers $number) $ordinal $number) -}}
{{- end -}}
{{- $_ := set $numbers $number (toString $ordinal) -}}
{{- end -}}
{{- range $ordinal, $number := .Values.nodeNumbers -}}
{{- if le (int $number) (int $.Values.initialNodes) -}}
{{- fail (printf "nodeNumbers: %d was a number of the first nodes, and no number is used again" (int $number)) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* What depends on what runs: Helm sees it only when it talks to the Kubernetes API. */}}
{{- define "conclave.validate.running" -}}
{{- $values := .Values -}}
{{- $wanted := int $values.replicaCount -}}
{{- $running := lookup "apps/v1" "StatefulSet" .Release.Namespace (include "conclave.fullname" .) -}}
{{- if $running -}}
{{- $made := dig "metadata" "annotations" "conclave-initial-nodes" "" $running -}}
{{- if and $made (ne $made (toString $values.initialNodes)) -}}
{{- fail (printf "the cluster was made of %s nodes: initialNodes stays %s" $made $made) -}}
{{- end -}}
{{- $there := int (dig "spec" "replicas" $wanted $running) -}}
{{- if and (lt $wanted $there) (ne $wanted (int $values.confirmScaleDownTo)) -}}
{{- $go := list -}}
{{- range $ordinal := untilStep (sub $there 1 | int) (sub $wanted 1 | int) -1 -}}
{{- $go = append $go (include "conclave.nodeNumber" (list $ $ordinal)) -}}
{{- end -}}
{{- fail (printf "replicaCount goes from %d to %d: drain and remove first, one after another, node %s (conclave drain, conclave remove); then set confirmScaleDownTo: %d" $there $wanted (join ", " $go) $wanted) -}}
{{- end -}}
{{- else if and .Release.IsInstall (lt $wanted (int $values.initialNodes)) -}}
{{- fail "replicaCount is less than initialNodes: the cluster is made of initialNodes nodes" -}}
{{- end -}}
{{- end -}}
