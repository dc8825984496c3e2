# SPDX-License-Identifier: Apache-2.0
# embed.sh — prints the page's files as a C table: struct web_file of daemon/web.h.
set -eu
cd "$(dirname "$0")"
echo '#include "daemon/web.h"'
for f in index.html page.css page.js; do
	echo "static const unsigned char $(echo $f | tr . _)[] = {"
	od -An -v -tu1 $f | sed 's/^ *//; s/  */,/g; s/$/,/'
	echo "};"
done
echo "const struct web_file web_files[] = {"
row() { echo "{\"$1\", \"$3\", $(echo "$2" | tr . _), sizeof($(echo "$2" | tr . _))},"; }
row / index.html 'text/html; charset=utf-8'
row /page.css page.css 'text/css; charset=utf-8'
row /page.js page.js 'text/javascript; charset=utf-8'
echo "};"
echo "const size_t web_count = sizeof(web_files) / sizeof(*web_files);"
