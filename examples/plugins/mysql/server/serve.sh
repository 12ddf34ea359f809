#!/bin/sh
# What the container runs: one MariaDB server on the volume, with one database and its user.
set -eu
umask 077

for value in "$MYSQL_DATABASE" "$MYSQL_USERNAME" "$MYSQL_PASSWORD"; do
    case "$value" in
        '' | *[!A-Za-z0-9_]*) # they become SQL below
            echo "cannot serve: MYSQL_DATABASE, MYSQL_USERNAME and MYSQL_PASSWORD are letters, digits and _" >&2
            exit 1 ;;
    esac
done

# At a redeploy the old container serves until this one is proved: two servers on one folder would not do.
exec 9> /var/lib/mysql/lock
if ! flock --nonblock 9; then
    echo "waiting for the old server to end"
    flock 9
fi

# Made beside and renamed, so that a server that was killed meanwhile leaves no half of it.
if [ ! -d /var/lib/mysql/data ]; then
    rm -rf /var/lib/mysql/data.new
    mariadb-install-db --datadir=/var/lib/mysql/data.new --skip-test-db \
        --auth-root-authentication-method=socket --auth-root-socket-user=mysql > /dev/null
    mv /var/lib/mysql/data.new /var/lib/mysql/data
fi

# Carried out at each start, before anybody can connect: a new password in the config is the server's.
cat > /tmp/init.sql << SQL
CREATE DATABASE IF NOT EXISTS \`$MYSQL_DATABASE\` CHARACTER SET utf8mb4;
CREATE USER IF NOT EXISTS '$MYSQL_USERNAME'@'%';
ALTER USER '$MYSQL_USERNAME'@'%' IDENTIFIED BY '$MYSQL_PASSWORD';
GRANT ALL PRIVILEGES ON \`$MYSQL_DATABASE\`.* TO '$MYSQL_USERNAME'@'%';
SQL
exec mariadbd --init-file=/tmp/init.sql
